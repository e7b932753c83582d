"""Run molecular dynamics so that it can be stopped anywhere and continued exactly."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from halocline.appended import EMPTY, AppendedFile
from halocline.dynamics import integrators
from halocline.dynamics.guards import Guards, why_failed
from halocline.dynamics.identity import check_same_options, structure_digest
from halocline.dynamics.records import frame_bytes, row_bytes
from halocline.dynamics.run_files import RunFiles
from halocline.dynamics.settings import CHECKPOINT_INTERVAL, NEAREST, Settings
from halocline.dynamics.snapshot import Snapshot, load_snapshot, save_snapshot
from halocline.dynamics.step_record import StepRecord, measure
from halocline.errors import DynamicsError, StructureError, UsageError
from halocline.potential.calculator import HaloclineCalculator
from halocline.shares import timed

_LOG = logging.getLogger(__name__)
_LIBRARIES = ("halocline", "ase", "numpy", "scipy", "torch")


@final
@dataclass(frozen=True, slots=True)
class DynamicsResult:
    """How a run ended.

    Attributes:
        step: the last step that was computed.
        finished: False if it was interrupted; a checkpoint at `step` is there to resume from.
        computed: steps computed by this call.
        seconds: wall-clock time that they took.
    """

    step: int
    finished: bool
    computed: int
    seconds: float


def run_dynamics(
    atoms: Atoms,
    calculator: BaseCalculator,
    settings: Settings,
    output: RunFiles,
    *,
    steps: int,
    checkpoint_interval: int = CHECKPOINT_INTERVAL,
    identity: dict[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    minimum_distance: float = NEAREST,
    direct_forces: bool = False,
    on_step: Callable[[StepRecord], None] = lambda sample: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> DynamicsResult:
    """Integrate the equations of motion up to a step, and record it.

    Args:
        atoms: the start; its momenta are kept, and drawn if all are zero. It is not changed.
        calculator: any ASE calculator. Restarts are exact if equal positions give it equal forces, bit by bit.
        settings: ensemble, integrator and intervals.
        output: the files to write.
        steps: number of the last step, counted from the start of the run and not from the restart.
        checkpoint_interval: steps between two checkpoints.
        identity: what else must be equal when the run is resumed, such as the model's hash.
        resume: go on from the checkpoint in `output`.
        overwrite: replace a run that is in `output`.
        minimum_distance: stop where two atoms come nearer than this fraction of the shortest distance of their
            elements in the model's training; 0 never stops. Only calculators of `Potential` know that distance.
        direct_forces: let nve run with forces that are no derivative of the energy: the energy will drift.
        on_step: called with every step that was recorded or passed over.
        interrupted: asked after every step; when true, a checkpoint is written and the run returns.

    Raises:
        DynamicsError: the run blew up, the calculator failed, a file cannot be written, or the checkpoint
            belongs to other options. What was recorded before stays and is whole.
        StructureError: the structure does not suit the ensemble or the calculator.
        UsageError: the files of another run are in the way, or the model does not suit the ensemble.
    """
    if not (isinstance(minimum_distance, int | float) and 0.0 <= minimum_distance <= 1.0):
        raise UsageError(f"The minimum distance must be a fraction between 0 and 1, not {minimum_distance!r}.")
    if settings.ensemble == "nve" and not direct_forces and not getattr(calculator, "derives_forces", True):
        raise UsageError(
            "The forces of this model are no derivatives of its energy, which nve would not keep: choose a "
            "thermostat, or say --direct-forces (direct_forces=True)."
        )
    stated = calculator.stated(atoms) if isinstance(calculator, HaloclineCalculator) else {}
    options = settings.as_options() | (identity or {}) | stated | {"structure": structure_digest(atoms)}
    with output.locked():
        guards = functools.partial(Guards, nearest=minimum_distance)
        run = _Run(atoms, calculator, settings, output, options, guards, resume=resume, overwrite=overwrite)
        return run.advance(steps, checkpoint_interval, on_step, interrupted)


class _Run:
    """One run, from its start or its checkpoint on."""

    def __init__(
        self,
        atoms: Atoms,
        calculator: BaseCalculator,
        settings: Settings,
        output: RunFiles,
        options: dict[str, Any],
        guards: Callable[[Atoms, float], Guards],
        *,
        resume: bool,
        overwrite: bool,
    ) -> None:
        self._settings, self._output, self._options = settings, output, options
        self._rng = np.random.default_rng(settings.seed)
        self._atoms = integrators.prepare(atoms, settings, self._rng)
        self._guards = guards(self._atoms, max(settings.highest_temperature, self._atoms.get_temperature()))
        self._versions = {name: version(name) for name in _LIBRARIES}
        snapshot = self._restore() if resume else None
        self._atoms.calc = calculator
        self._atoms.get_forces()  # a structure that cannot be evaluated shows here, before any file is touched
        if near := self._guards.too_near(self._atoms):
            raise StructureError(f"{near}. Relax the structure first.")
        self._integrator = integrators.build(self._atoms, settings, self._rng)
        if snapshot is None:
            output.prepare(overwrite=overwrite)
            save_snapshot(output.checkpoint, self._snapshot({"trajectory": EMPTY, "log": EMPTY}))
            self._marks = {"trajectory": EMPTY, "log": EMPTY}
        else:
            integrators.set_state(self._integrator, snapshot.integrator)
            self._integrator.nsteps = snapshot.step
            self._marks = snapshot.marks
        self._saved = self._integrator.nsteps
        self._recorded: int | None = None
        self._forces: NDArray[np.float64] | None = None

    def advance(
        self,
        steps: int,
        checkpoint_interval: int,
        on_step: Callable[[StepRecord], None],
        interrupted: Callable[[], bool],
    ) -> DynamicsResult:
        """Compute and record steps until the last one, or until interrupted."""
        start = self._integrator.nsteps
        if steps < start:
            raise DynamicsError(f"The run is at step {start} already, beyond the {steps} steps asked for.")
        begun = time.perf_counter()
        finished = True
        with ExitStack() as stack:
            self._trajectory = stack.enter_context(
                AppendedFile(self._output.trajectory, self._marks["trajectory"], error_class=DynamicsError)
            )
            self._log = stack.enter_context(
                AppendedFile(self._output.log, self._marks["log"], error_class=DynamicsError)
            )
            for sample in self._samples(steps - start):
                finished = sample.step == steps or not interrupted()
                due = sample.step % checkpoint_interval == 0 or sample.step == steps or not finished
                if due and sample.step > start:
                    self._save()
                if not finished:
                    break
                self._record(sample)
                on_step(sample)
        end = self._integrator.nsteps
        return DynamicsResult(end, finished, end - start, time.perf_counter() - begun)

    def _samples(self, steps: int) -> Iterator[StepRecord]:
        """Step through the run, this step included; raise where it must not go on."""
        for step in range(steps + 1):
            self._heat()
            try:
                with np.errstate(all="ignore"):  # what overflows is for the guards, who say it better
                    if step:
                        self._advance()
                    sample = measure(self._atoms, self._integrator.nsteps, self._settings.timestep)
            except Exception as error:  # whatever a calculator may raise: the forces of this step do not exist
                raise self._stopped(why_failed(self._atoms, error)) from error
            reason = self._guards.reason_to_stop(self._atoms, sample)
            if reason:
                raise self._stopped(reason)
            yield sample

    @timed("integrator")
    def _advance(self) -> None:
        """One step."""
        self._forces = integrators.step(self._integrator, self._forces)

    def _heat(self) -> None:
        """Give the bath the temperature of the step that comes next."""
        if self._settings.final_temperature is not None:
            kelvin = self._settings.bath_temperature(self._integrator.nsteps)
            integrators.set_bath_temperature(self._integrator, kelvin)

    @timed("output")
    def _record(self, sample: StepRecord) -> None:
        if sample.step == 0:
            self._log.append(row_bytes(sample.columns))
        if sample.step % self._settings.log_interval == 0:
            self._log.append(row_bytes(sample.row()))
        if sample.step % self._settings.frame_interval == 0:
            self._trajectory.append(frame_bytes(self._atoms, step=sample.step, time_fs=sample.time))
            self._recorded = sample.step

    @timed("output")
    def _save(self) -> None:
        self._trajectory.sync()
        self._log.sync()
        marks = {"trajectory": self._trajectory.mark(), "log": self._log.mark()}
        save_snapshot(self._output.checkpoint, self._snapshot(marks))
        self._saved = self._integrator.nsteps

    def _snapshot(self, marks: dict[str, dict[str, Any]]) -> Snapshot:
        return Snapshot(
            step=self._integrator.nsteps,
            positions=self._atoms.get_positions(),
            momenta=self._atoms.get_momenta(),
            cell=self._atoms.cell.array.copy(),
            integrator=integrators.get_state(self._integrator),
            rng=dict(self._rng.bit_generator.state),
            marks=marks,
            options=self._options,
            versions=self._versions,
        )

    def _restore(self) -> Snapshot:
        """Bring atoms and random numbers to the state of the checkpoint."""
        snapshot = load_snapshot(self._output.checkpoint)
        check_same_options(snapshot.options, self._options)
        for name, old in snapshot.versions.items():
            if self._versions.get(name) != old:
                _LOG.warning(
                    "The run was started with %s %s, now %s: the restart may not be exact to the last bit.",
                    *(name, old, self._versions.get(name)),
                )
        self._atoms.set_cell(snapshot.cell, scale_atoms=False, apply_constraint=False)
        self._atoms.set_positions(snapshot.positions, apply_constraint=False)
        self._atoms.set_momenta(snapshot.momenta, apply_constraint=False)
        self._rng.bit_generator.state = snapshot.rng
        return snapshot

    def _stopped(self, reason: str) -> DynamicsError:
        step = self._integrator.nsteps
        frame = "none" if self._recorded is None else f"step {self._recorded}"
        return DynamicsError(
            f"The run stopped near step {step} ({step * self._settings.timestep:g} fs): {reason}. "
            f"All steps before it are kept. Last frame in {self._output.trajectory}: {frame}; "
            f"checkpoint: step {self._saved}."
        )
