"""Run molecular dynamics whose atoms live in other processes: what is done here does not grow with the structure.

Only where a frame or a checkpoint is due do the atoms come here.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, final

import numpy as np
from ase import Atoms, units
from ase.stress import full_3x3_to_voigt_6_stress

from halocline.context import in_evaluation_context
from halocline.dynamics import integrators
from halocline.dynamics.engine import NO_STRESS, DynamicsResult, check_request
from halocline.dynamics.guards import Guards, nearer, too_far
from halocline.dynamics.identity import structure_digest
from halocline.dynamics.recording import Marks, Recording
from halocline.dynamics.records import FrameResults
from halocline.dynamics.residents import Everything, Houses, Residents, Start, StepSums
from halocline.dynamics.run_files import RunFiles
from halocline.dynamics.settings import CHECKPOINT_INTERVAL, NEAREST, Settings
from halocline.dynamics.snapshot import Snapshot
from halocline.dynamics.step_record import StepRecord
from halocline.errors import DynamicsError, StructureError, UnstableDynamicsError, UsageError
from halocline.graph.structure import volume_of
from halocline.model.condition import check_head, read_conditions, taken_entries
from halocline.partition import Division
from halocline.partition.division import UNDIVIDED
from halocline.potential.evaluators import make_evaluator
from halocline.potential.potential import Potential
from halocline.program import Precision
from halocline.spec import Spec

_LIBRARIES: Final = ("halocline", "ase", "numpy", "torch")

#: Steps that processes make without a word, and the seconds that these may take, unless one takes longer: so long
#: may an interruption have to wait.
BATCH, PATIENCE = 16, 1.0


@in_evaluation_context
def open_houses(potential: Potential, backend: str, dtype: str, device: str, halo: str, compress: bool) -> Houses:
    """Make the evaluator whose processes are to hold atoms; arguments as for a call of the potential.

    Raises:
        UsageError: the backend has no such processes, or an option does not suit them.
        HaloclineError: as for a call.
    """
    backbone = potential.backbone
    if backbone.pooled_head is not None:
        raise UsageError(
            "Ranks hold the atoms of models whose energy is a sum over atoms, which that of this model is not; "
            "leave --engine ranks out."
        )
    spec, division = Spec.parse(backend), Division.parse(UNDIVIDED)
    evaluator = make_evaluator(backbone, spec, Precision(dtype), device, division, halo, compress)
    if not isinstance(evaluator, Houses):
        evaluator.close()
        raise UsageError(f"Only ranks can hold atoms: give --backend ddp:ranks=2, for example, not {backend!r}.")
    return evaluator


def run_resident(
    atoms: Atoms,
    potential: Potential,
    residents: Residents,
    settings: Settings,
    output: RunFiles,
    *,
    steps: int,
    checkpoint_interval: int = CHECKPOINT_INTERVAL,
    identity: dict[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    minimum_distance: float = NEAREST,
    head: str | None = None,
    direct_forces: bool = False,
    on_step: Callable[[StepRecord], None] = lambda sample: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> DynamicsResult:
    """Integrate the equations of motion up to a step where the atoms live, and record it.

    Files, arguments and errors are those of `halocline.dynamics.run_dynamics`, with these differences: a restart
    on as many processes is exact, and one on another number of them goes on to rounding; interruptions are asked
    for after `BATCH` steps or `PATIENCE` seconds; whether an atom has flown away is looked at where frames are
    written.

    Args:
        atoms: see there.
        potential: the model.
        residents: its processes.
        settings: see there.
        output: see there.
        steps: see there.
        checkpoint_interval: see there.
        identity: see there.
        resume: see there.
        overwrite: see there.
        minimum_distance: see there.
        head: of the model that is to answer.
        direct_forces: see there.
        on_step: see there.
        interrupted: see there.

    Raises:
        UsageError: likewise.
    """
    check_request(settings, minimum_distance, direct_forces or potential.backbone.derives_forces)
    check_head(potential.backbone.conditions, head)
    options = settings.as_options() | (identity or {}) | {"structure": structure_digest(atoms), "engine": "ranks"}
    guards = functools.partial(Guards, nearest=minimum_distance)
    with output.locked():
        run = _Run(
            *(atoms, potential, residents, settings, output, options, guards, head),
            resume=resume,
            overwrite=overwrite,
        )
        return run.advance(steps, checkpoint_interval, on_step, interrupted)


@final
class _Run:
    """One run, from its start or its checkpoint on."""

    def __init__(
        self,
        atoms: Atoms,
        potential: Potential,
        residents: Residents,
        settings: Settings,
        output: RunFiles,
        options: dict[str, Any],
        guards: Callable[[Atoms, float], Guards],
        head: str | None,
        *,
        resume: bool,
        overwrite: bool,
    ) -> None:
        self._potential, self._residents, self._settings = potential, residents, settings
        self._atoms = integrators.prepare(atoms, settings, np.random.default_rng(settings.seed))
        prepared = potential.prepare(self._atoms, head)
        self._reference, self._total_reference = prepared.reference, float(prepared.reference.sum())
        declared = potential.backbone.conditions
        numbers = read_conditions(declared, atoms.info, head)
        stated = {each.name: each.stated(numbers[each.name]) for each in declared}
        self._recording = Recording(output, settings, options | stated, _LIBRARIES)
        self._guards = guards(self._atoms, max(settings.highest_temperature, self._atoms.get_temperature()))
        self._nearest = self._guards.nearest
        self._free = self._atoms.get_number_of_degrees_of_freedom()
        self._volume = volume_of(self._atoms.cell.array) if self._atoms.pbc.all() else None
        snapshot = self._recording.restore(self._atoms) if resume else None
        step = 0 if snapshot is None else snapshot.step
        before = ({}, None) if snapshot is None else (snapshot.integrator, snapshot.placing)
        start = Start(self._atoms, prepared.structure.conditions, settings, self._free, step, *before)
        self._first = residents.settle(start)  # what cannot be evaluated shows before any file is touched
        if settings.ensemble == "npt" and self._first.virial is None:
            raise UsageError(NO_STRESS)
        if near := self._near(self._first):
            raise StructureError(f"{near}. Relax the structure first.")
        if snapshot is None:
            self._recording.begin(self._snapshots(0, residents.gather()), overwrite=overwrite)
        self._step = step

    def advance(
        self,
        steps: int,
        checkpoint_interval: int,
        on_step: Callable[[StepRecord], None],
        interrupted: Callable[[], bool],
    ) -> DynamicsResult:
        """Compute and record steps until the last one, or until interrupted."""
        start = self._step
        if steps < start:
            raise DynamicsError(f"The run is at step {start} already, beyond the {steps} steps asked for.")
        begun, finished = time.perf_counter(), True
        with self._recording.opened():
            for samples in self._batches(steps, checkpoint_interval):
                sample = samples[-1]
                finished = sample.step == steps or not interrupted()
                due = sample.step % checkpoint_interval == 0 or sample.step == steps or not finished
                self._keep(sample, save=due and sample.step > start, record=finished)
                for each in samples if finished else samples[:-1]:
                    on_step(each)
                if not finished:
                    break
        return DynamicsResult(self._step, finished, self._step - start, time.perf_counter() - begun)

    def _batches(self, steps: int, checkpoint_interval: int) -> Iterator[list[StepRecord]]:
        """Steps up to the next that is recorded; raise where the run must not go on."""
        intervals = (self._settings.log_interval, self._settings.frame_interval, checkpoint_interval)
        yield [self._checked(self._first)]
        few = 1
        while self._step < steps:
            ends = [(self._step // interval + 1) * interval for interval in intervals]
            begun = time.perf_counter()
            try:
                found = self._residents.advance(min(*ends, self._step + few, steps) - self._step)
            except Exception as error:  # whatever may be raised: the forces of this step do not exist
                failed = f"the calculator failed with {type(error).__name__}: {str(error).removesuffix('.')}"
                raise self._stopped(failed) from error
            few = max(1, min(BATCH, int(PATIENCE * len(found) / (time.perf_counter() - begun))))
            yield [self._checked(sums) for sums in found]

    def _checked(self, sums: StepSums) -> StepRecord:
        """The record of a step, unless the run has to stop at it."""
        self._step, self._virial = sums.step, sums.virial
        sample = self._sample(sums)
        reason = sums.not_finite and f"{sums.not_finite} is not finite"
        reason = reason or self._near(sums) or self._guards.too_hot(sample)
        if reason := reason or too_far(sums.farthest_atom, sums.farthest):
            raise self._stopped(reason)
        return sample

    def _sample(self, sums: StepSums) -> StepRecord:
        pressure = None
        if self._volume is not None:
            self._volume = volume_of(sums.cell)
        if self._volume is not None and sums.virial is not None:
            static = -float(np.trace(sums.virial)) / 3.0 / self._volume
            pressure = (static + 2.0 * sums.kinetic / (3.0 * self._volume)) / units.GPa
        return StepRecord(
            step=sums.step,
            time=sums.step * self._settings.timestep,
            potential=sums.potential + self._total_reference,
            kinetic=sums.kinetic,
            temperature=2.0 * sums.kinetic / (self._free * units.kB),
            pressure=pressure,
            volume=self._volume,
        )

    def _near(self, sums: StepSums) -> str | None:
        remarks = self._potential.remarks(sums.contacts)
        self._potential.say(remarks)
        return nearer(remarks, self._nearest)

    def _keep(self, sample: StepRecord, *, save: bool, record: bool) -> None:
        """Write what is due at a step: a checkpoint before its frame, so that a restart writes that again."""
        framed = record and self._recording.frame_is_due(sample.step)
        everything = self._residents.gather() if save or framed else None
        if everything is not None:
            self._bring_here(everything)
            if reason := self._guards.apart(self._atoms):
                raise self._stopped(reason)
        if save and everything is not None:
            self._recording.save(self._snapshots(sample.step, everything))
        if not record:
            return
        self._recording.log(sample)
        if framed and everything is not None:
            self._atoms.calc = self._results(sample, everything)
            self._recording.frame(self._atoms, sample)

    def _bring_here(self, everything: Everything) -> None:
        self._atoms.set_positions(everything.positions, apply_constraint=False)
        self._atoms.set_momenta(everything.momenta, apply_constraint=False)
        self._atoms.set_cell(everything.cell, scale_atoms=False, apply_constraint=False)

    def _results(self, sample: StepRecord, everything: Everything) -> FrameResults:
        """What a frame says of the model."""
        results = {
            "energy": sample.potential,
            "forces": everything.forces,
            "energies": everything.energies + self._reference,
        }
        if self._volume is not None and self._virial is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(self._virial / self._volume)
        return FrameResults(results, frozenset(taken_entries(self._potential.backbone.conditions)))

    def _snapshots(self, step: int, everything: Everything) -> Callable[[Marks], Snapshot]:
        """What makes the checkpoint of a step, given the marks of its files."""
        return lambda marks: Snapshot(
            step=step,
            positions=everything.positions,
            momenta=everything.momenta,
            cell=everything.cell,
            integrator=everything.integrator,
            rng={},  # numbers follow from seed, step and atom
            marks=marks,
            options=self._recording.options,
            versions=self._recording.versions,
            placing=everything.placing,
        )

    def _stopped(self, reason: str) -> UnstableDynamicsError:
        return self._recording.stopped(self._step, reason)
