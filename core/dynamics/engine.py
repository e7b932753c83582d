"""Run molecular dynamics so that it can be stopped anywhere and continued exactly."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from halocline.dynamics import integrators
from halocline.dynamics.guards import Guards, why_failed
from halocline.dynamics.identity import structure_digest
from halocline.dynamics.recording import Marks, Recording
from halocline.dynamics.records import unlabelled_bytes
from halocline.dynamics.run_files import RunFiles
from halocline.dynamics.settings import CHECKPOINT_INTERVAL, NEAREST, Settings
from halocline.dynamics.snapshot import Snapshot
from halocline.dynamics.step_record import StepRecord, measure, static_pressure
from halocline.dynamics.watch import Watch
from halocline.errors import DynamicsError, StructureError, UnstableDynamicsError, UsageError
from halocline.potential.calculator import HaloclineCalculator
from halocline.shares import timed

#: Why a model cannot move a cell.
NO_STRESS: Final = "The model says what forces are, and has no stress, which npt needs: choose nvt."

_INDIFFERENT = Watch()
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
        collected: frames that were collected since the start of the run; None if none were looked for.
        stopped: why it ended before its last step, as its `Watch` told it to; else None.
    """

    step: int
    finished: bool
    computed: int
    seconds: float
    collected: int | None = None
    stopped: str | None = None


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
    watch: Watch = _INDIFFERENT,
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
        watch: what to do where the members of a committee disagree; frames go to `RunFiles.collected`.
        on_step: called with every step that was recorded or passed over.
        interrupted: asked after every step; when true, a checkpoint is written and the run returns.

    Raises:
        UnstableDynamicsError: the run blew up, or the calculator failed. What was recorded before stays and is
            whole.
        DynamicsError: a file cannot be written, or the checkpoint belongs to other options; likewise.
        StructureError: the structure does not suit the ensemble or the calculator.
        UsageError: the files of another run are in the way, the model does not suit the ensemble, or is no
            committee where disagreement is looked for.
    """
    if (watch.collect_at is None) != (output.collected is None):
        raise UsageError("Frames are collected into a file from a spread on: give both (--collect, --at-spread).")
    check_request(settings, minimum_distance, direct_forces or getattr(calculator, "derives_forces", True))
    stated = calculator.stated(atoms) if isinstance(calculator, HaloclineCalculator) else {}
    options = settings.as_options() | (identity or {}) | stated | {"structure": structure_digest(atoms)}
    options |= watch.as_options() | output.as_options()
    with output.locked():
        guards = functools.partial(Guards, nearest=minimum_distance)
        run = _Run(
            *(atoms, calculator, settings, output, options, guards, watch), resume=resume, overwrite=overwrite
        )
        return run.advance(steps, checkpoint_interval, on_step, interrupted)


def check_request(settings: Settings, minimum_distance: float, keeps_energy: bool) -> None:
    """Refuse what no engine should run.

    Args:
        settings: of the run.
        minimum_distance: see `run_dynamics`.
        keeps_energy: whether forces are derivatives of the energy, or need not be.

    Raises:
        UsageError: the distance is no fraction, or nve would not keep its energy.
    """
    if not (isinstance(minimum_distance, int | float) and 0.0 <= minimum_distance <= 1.0):
        raise UsageError(f"The minimum distance must be a fraction between 0 and 1, not {minimum_distance!r}.")
    if settings.ensemble == "nve" and not keeps_energy:
        raise UsageError(
            "The forces of this model are no derivatives of its energy, which nve would not keep: choose a "
            "thermostat, or say --direct-forces (direct_forces=True)."
        )


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
        watch: Watch,
        *,
        resume: bool,
        overwrite: bool,
    ) -> None:
        self._settings, self._watch = settings, watch
        self._rng = np.random.default_rng(settings.seed)
        self._atoms = integrators.prepare(atoms, settings, self._rng)
        self._guards = guards(self._atoms, max(settings.highest_temperature, self._atoms.get_temperature()))
        self._recording = Recording(output, settings, options, _LIBRARIES)
        snapshot = self._recording.restore(self._atoms) if resume else None
        if snapshot is not None:
            self._rng.bit_generator.state = snapshot.rng
        self._atoms.calc = calculator
        self._atoms.get_forces()  # a structure that cannot be evaluated shows here, before any file is touched
        if settings.ensemble == "npt" and static_pressure(self._atoms) is None:
            raise UsageError(NO_STRESS)
        if near := self._guards.too_near(self._atoms):
            raise StructureError(f"{near}. Relax the structure first.")
        if watch.looks and getattr(calculator, "spread", None) is None:
            raise UsageError("Only the members of a committee disagree; give several models, each with its -m.")
        self._integrator = integrators.build(self._atoms, settings, self._rng)
        if snapshot is None:
            self._collected: list[int] = []
            self._recording.begin(self._snapshot, overwrite=overwrite)
        else:
            integrators.set_state(self._integrator, snapshot.integrator)
            self._integrator.nsteps = snapshot.step
            self._collected = list(snapshot.collected)
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
        finished, stopped = True, None
        with self._recording.opened():
            for sample in self._samples(steps - start):
                stopped = self._watch.reason_to_stop(sample)
                last = sample.step == steps or stopped is not None
                finished = last or not interrupted()
                due = sample.step % checkpoint_interval == 0 or last or not finished
                if due and sample.step > start:
                    self._save()
                if not finished:
                    break
                self._record(sample)
                on_step(sample)
                if last:
                    break
        end = self._integrator.nsteps
        seconds = time.perf_counter() - begun
        collected = None if self._watch.collect_at is None else len(self._collected)
        return DynamicsResult(end, finished, end - start, seconds, collected, stopped)

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
        self._recording.log(sample)
        if self._recording.frame_is_due(sample.step):
            self._recording.frame(self._atoms, sample)
        if self._watch.collects(sample, self._collected[-1] if self._collected else None):
            frame = unlabelled_bytes(self._atoms, step=sample.step, time_fs=sample.time)
            self._recording.append("collected", frame)
            self._collected.append(sample.step)

    @timed("output")
    def _save(self) -> None:
        self._recording.save(self._snapshot)

    def _snapshot(self, marks: Marks) -> Snapshot:
        return Snapshot(
            step=self._integrator.nsteps,
            positions=self._atoms.get_positions(),
            momenta=self._atoms.get_momenta(),
            cell=self._atoms.cell.array.copy(),
            integrator=integrators.get_state(self._integrator),
            rng=dict(self._rng.bit_generator.state),
            marks=marks,
            options=self._recording.options,
            versions=self._recording.versions,
            collected=self._collected,
        )

    def _stopped(self, reason: str) -> UnstableDynamicsError:
        return self._recording.stopped(self._integrator.nsteps, reason)
