"""Molecular dynamics of many structures at once by torch-sim's integrators, recorded as runs of one are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from ase import Atoms, units
from torch_sim.autobatching import BinningAutoBatcher
from torch_sim.integrators import MDState
from torch_sim.state import concatenate_states

from halocline.appended import EMPTY, AppendedFile
from halocline.dynamics import integrators
from halocline.dynamics.engine import check_request
from halocline.dynamics.guards import Guards
from halocline.dynamics.records import frame_bytes, row_bytes
from halocline.dynamics.run_files import RunFiles
from halocline.dynamics.settings import NEAREST, Settings
from halocline.dynamics.step_record import COLUMNS as COLUMNS_OF_ONE
from halocline.dynamics.step_record import measure
from halocline.engines.torch_sim import movers
from halocline.engines.torch_sim.followed import (
    BATCH_ATOMS,
    Followed,
    check_structures,
    require_results,
    state_of,
    take_all,
)
from halocline.engines.torch_sim.model import DTYPE, HaloclineModel
from halocline.errors import DynamicsError, StructureError, UsageError

#: Of the log.
COLUMNS: Final = ("structure", *COLUMNS_OF_ONE)


@final
@dataclass(slots=True)
class Moved:
    """How the run of a structure ended.

    Attributes:
        number: among those that were given, from 0.
        atoms: how many it has.
        step: the last that was recorded; -1 if none was.
        failure: why it was taken out before the last step; None if it was not.
    """

    number: int
    atoms: int
    step: int = -1
    failure: str | None = None


@final
@dataclass(frozen=True, slots=True)
class ManyMoved:
    """How a run of many structures ended.

    Attributes:
        moved: every structure, in its order.
        finished: False if it was interrupted.
        seconds: wall-clock time of all steps.
        atom_steps: steps, times the atoms that made them.
    """

    moved: list[Moved]
    finished: bool
    seconds: float
    atom_steps: int


def run_many(
    structures: Sequence[Atoms],
    model: HaloclineModel,
    settings: Settings,
    output: RunFiles,
    *,
    steps: int,
    batch_atoms: int = BATCH_ATOMS,
    overwrite: bool = False,
    minimum_distance: float = NEAREST,
    direct_forces: bool = False,
    on_steps: Callable[[int], None] = lambda count: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> ManyMoved:
    """Integrate the equations of motion of many structures over the same number of steps.

    nve: velocity Verlet. nvt: BAOAB splitting of Langevin dynamics; see `halocline.dynamics.integrators`. A
    structure that blows up is taken out, and the others go on.

    Args:
        structures: the starts, not changed; momenta are kept, and drawn where all are zero: of structure i as in a
            run of it alone with the seed plus i.
        model: that keeps its errors.
        settings: ensemble, integrator and intervals.
        output: the files to write; frames and rows of all structures are in the same, each with its number.
        steps: to be made.
        batch_atoms: as many structures move together as have at most so many atoms, or one that has more.
        overwrite: replace a run that is in `output`.
        minimum_distance: see `halocline.dynamics.run_dynamics`, as the following.
        direct_forces: see there.
        on_steps: called after each step with the number of structures that made it.
        interrupted: asked after every step; when true, the run ends.

    Raises:
        DynamicsError: a file cannot be written.
        StructureError: a structure cannot be evaluated as it starts, or not be moved by torch-sim.
        UsageError: torch-sim has no such ensemble or thermostat, or the files of another run are in the way.
    """
    _check_settings(settings)
    check_request(settings, minimum_distance, direct_forces or model.potential.backbone.derives_forces)
    check_structures(structures, model)
    starts = [
        integrators.prepare(atoms, settings, np.random.default_rng(settings.seed + number))
        for number, atoms in enumerate(structures)
    ]
    many = [Followed(number, atoms, model.potential) for number, atoms in enumerate(starts)]
    state = _resting(starts, model)
    model(state)  # a structure that cannot be evaluated shows here, before any file is touched
    take_all(many, state, model)
    require_results(many)
    guards = [_guards(one, settings, minimum_distance) for one in many]
    batcher = BinningAutoBatcher(
        model,
        memory_scales_with="n_atoms",
        max_memory_scaler=max(batch_atoms, *map(len, starts)),
    )
    batcher.load_states(state)
    with output.locked(), ExitStack() as stack:
        output.prepare(overwrite=overwrite, resumes=False)
        frames, rows = (
            stack.enter_context(AppendedFile(path, EMPTY, error_class=DynamicsError))
            for path in (output.trajectory, output.log)
        )
        run = _Run(model, settings, many, guards, frames, rows, on_steps, interrupted)
        stack.enter_context(_random_numbers(settings.seed, model.device))
        begun = time.perf_counter()
        finished = all(
            run.advance(concatenate_states(states), list(numbers), steps)
            for states, numbers in zip(batcher.batched_states, batcher.index_bins, strict=True)
        )
        return ManyMoved(run.moved, finished, time.perf_counter() - begun, run.atom_steps)


@final
class _Run:
    """A run of many structures, batch after batch."""

    def __init__(
        self,
        model: HaloclineModel,
        settings: Settings,
        many: Sequence[Followed],
        guards: Sequence[Guards],
        frames: AppendedFile,
        rows: AppendedFile,
        on_steps: Callable[[int], None],
        interrupted: Callable[[], bool],
    ) -> None:
        self._model, self._settings, self._many, self._guards = model, settings, many, guards
        self._frames, self._rows = frames, rows
        self._on_steps, self._interrupted = on_steps, interrupted
        self.moved = [Moved(one.number, len(one.atoms)) for one in many]
        self.atom_steps = 0
        self._headed = False

    def advance(self, batch: MDState, numbers: Sequence[int], steps: int) -> bool:
        """Move a batch to its last step; False if interrupted."""
        begin, go_on = _integrator(self._settings, self._model)
        moving = [self._many[number] for number in numbers]
        for step in range(steps + 1):
            if step == 0:
                batch = begin(batch)
            else:
                # the bath has the temperature of the step that comes next
                batch = go_on(batch, kT=_number(units.kB * self._settings.bath_temperature(step - 1), self._model))
                self.atom_steps += batch.n_atoms
            take_all(moving, batch, self._model)
            lost = [place for place, one in enumerate(moving) if not self._record(one, step)]
            self._on_steps(len(moving))
            if lost:
                batch.pop(lost)
                moving = [one for place, one in enumerate(moving) if place not in lost]
            if self._interrupted():
                return False
            if not moving:
                break
        return True

    def _record(self, one: Followed, step: int) -> bool:
        """Write a step of a structure, unless it may not go on; then why is kept, and False returned."""
        moved = self.moved[one.number]
        if one.failure is not None:
            moved.failure = str(one.failure)
            return False
        sample = measure(one.atoms, step, self._settings.timestep)
        moved.failure = self._guards[one.number].reason_to_stop(one.atoms, sample)
        if moved.failure is not None:
            return False
        moved.step = step
        if not self._headed:
            self._rows.append(row_bytes(["structure", *sample.columns]))
            self._headed = True
        if step % self._settings.log_interval == 0:
            self._rows.append(row_bytes([str(one.number), *sample.row()]))
        if step % self._settings.frame_interval == 0:
            self._frames.append(frame_bytes(one.atoms, structure=one.number, step=step, time_fs=sample.time))
        return True


def _integrator(settings: Settings, model: HaloclineModel) -> tuple[Any, Any]:
    """torch-sim's functions that begin and that go on. Its units of time and energy are ASE's."""
    numbers = {
        "dt": _number(settings.timestep * units.fs, model),
        "kT": _number(units.kB * settings.temperature, model),
    }
    if settings.ensemble == "nve":
        return movers.verlet(model, **numbers)
    friction = _number(1.0 / (settings.relaxation_time * units.fs), model)
    return movers.langevin(model, **numbers, gamma=friction)


def _resting(starts: Sequence[Atoms], model: HaloclineModel) -> MDState:
    """The state at the start, with momenta and without forces."""
    state = state_of(starts, model)
    momenta = np.concatenate([atoms.get_momenta() for atoms in starts])
    return MDState(
        positions=state.positions,
        masses=state.masses,
        cell=state.cell,
        pbc=state.pbc,
        atomic_numbers=state.atomic_numbers,
        system_idx=state.system_idx,
        momenta=torch.as_tensor(momenta, dtype=DTYPE, device=model.device),
        forces=torch.zeros_like(state.positions),
        energy=torch.zeros(len(starts), dtype=DTYPE, device=model.device),
    )


def _guards(one: Followed, settings: Settings, minimum_distance: float) -> Guards:
    """What looks at a structure, which is good enough to start from."""
    found = Guards(one.atoms, max(settings.highest_temperature, one.atoms.get_temperature()), minimum_distance)
    if near := found.too_near(one.atoms):
        raise StructureError(f"Structure {one.number}: {near}. Relax the structure first.")
    return found


def _check_settings(settings: Settings) -> None:
    """Refuse what torch-sim does not have, or not in each version, or not as it should be."""
    if settings.ensemble == "npt":
        raise UsageError(
            "--engine torch-sim has no --ensemble npt (docs/torch-sim.md says why): take --engine ase."
        )
    if settings.ensemble == "nvt" and settings.thermostat != "langevin":
        raise UsageError(
            f"torch-sim has no thermostat {settings.thermostat}: take --thermostat langevin, or --engine ase."
        )


@contextmanager
def _random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch's random numbers, of which torch-sim makes its bath, follow from a seed within the block."""
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(seed)
        yield


def _number(value: float, model: HaloclineModel) -> torch.Tensor:
    return torch.tensor(value, dtype=DTYPE, device=model.device)
