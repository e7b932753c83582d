"""Relax many structures at once with torch-sim's FIRE, and their cells if asked to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from ase import Atoms, units
from torch_sim.autobatching import InFlightAutoBatcher
from torch_sim.state import SimState

from halocline.appended import EMPTY, AppendedFile
from halocline.dynamics.goal import Goal
from halocline.dynamics.records import frame_bytes, row_bytes
from halocline.dynamics.relaxation import RELAXATION_COLUMNS, RelaxationStep
from halocline.dynamics.step_record import result, static_pressure
from halocline.engines.torch_sim import movers
from halocline.engines.torch_sim.followed import (
    BATCH_ATOMS,
    Followed,
    array,
    check_structures,
    places,
    require_results,
    state_of,
    take_all,
)
from halocline.engines.torch_sim.model import HaloclineModel
from halocline.errors import DynamicsError, StructureError, UsageError

#: Of the log.
COLUMNS: Final = ("structure", *RELAXATION_COLUMNS)


@final
@dataclass(slots=True)
class Relaxed:
    """A structure, and how far its relaxation came.

    Attributes:
        number: among those that were given, from 0.
        atoms: at the last step that was evaluated, with what the model says of them.
        last: that step.
        failure: why the model could not evaluate the next one; None if it could.
    """

    number: int
    atoms: Atoms
    last: RelaxationStep
    failure: str | None = None


def relax_many(
    structures: Sequence[Atoms],
    model: HaloclineModel,
    goal: Goal,
    *,
    path: Path,
    log: Path,
    batch_atoms: int = BATCH_ATOMS,
    on_end: Callable[[Relaxed], None] = lambda relaxed: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[Relaxed]:
    """Relax structures together; each ends by itself, and makes place for another.

    Args:
        structures: the starts; they are not changed.
        model: that keeps its errors, and computes stress if cells relax.
        goal: what is relaxed, and how far; the optimiser is ``fire``. FIRE: see `halocline.dynamics.relaxation`.
        path: file of the frames of all, extended XYZ; replaced.
        log: file of the numbers of all, CSV with `COLUMNS`; replaced.
        batch_atoms: as many structures move together as have at most so many atoms, or one that has more.
        on_end: called with every structure that has come to its end.
        interrupted: asked after every step; when true, the relaxations end.

    Returns:
        Every structure in its order, whether it converged or not.

    Raises:
        DynamicsError: a file cannot be written.
        StructureError: a structure cannot be evaluated as it starts, or not be relaxed by torch-sim.
        UsageError: torch-sim has no such optimiser, or the stress of the model is no derivative of its energy.
    """
    _check_goal(goal, model)
    check_structures(structures, model)
    if goal.cell:
        _check_cells(structures)
    many = [Followed(number, atoms.copy(), model.potential) for number, atoms in enumerate(structures)]
    init, update = _optimiser(goal, model)
    state = init(state_of(structures, model))
    take_all(many, state, model)
    require_results(many)
    with ExitStack() as stack:
        frames = stack.enter_context(AppendedFile(path, EMPTY, error_class=DynamicsError))
        rows = stack.enter_context(AppendedFile(log, EMPTY, error_class=DynamicsError))
        rows.append(row_bytes(COLUMNS))
        run = _Run(goal, many, frames, rows, on_end)
        run.record(many, state, 0)
        _walk(run, many, state, update, _batcher(model, structures, batch_atoms), interrupted, model)
    return run.relaxed


def _walk(
    run: _Run,
    many: Sequence[Followed],
    state: SimState,
    update: Callable[[SimState], SimState],
    batcher: InFlightAutoBatcher,
    interrupted: Callable[[], bool],
    model: HaloclineModel,
) -> None:
    """Step until all structures have ended, or until interrupted."""
    batcher.load_states(state)
    batch = batcher.next_batch(None, None)[0]
    while batch is not None and not interrupted():
        moving = [many[number] for number in batcher.current_idx]
        ended = [run.has_ended(one) for one in moving]
        if any(ended):
            batch = batcher.next_batch(batch, torch.tensor(ended))[0]
            continue
        batch = update(batch)
        take_all(moving, batch, model)
        run.record(moving, batch, 1)


@final
class _Run:
    """What has become of each structure, and what is written of it."""

    def __init__(
        self,
        goal: Goal,
        many: Sequence[Followed],
        frames: AppendedFile,
        rows: AppendedFile,
        on_end: Callable[[Relaxed], None],
    ) -> None:
        self._goal, self._frames, self._rows, self._on_end = goal, frames, rows, on_end
        nowhere = RelaxationStep(-1, np.nan, np.nan, None, None, converged=False)
        self.relaxed = [Relaxed(one.number, one.atoms, nowhere) for one in many]

    def has_ended(self, one: Followed) -> bool:
        """Whether a structure makes no further step."""
        found = self.relaxed[one.number]
        return found.failure is not None or found.last.converged or found.last.step >= self._goal.max_steps

    def record(self, moving: Sequence[Followed], state: SimState, further: int) -> None:
        """Write a step of each structure of a state, ``further`` steps after its last."""
        forces = array(state.forces)
        on_cells = array(state.cell_forces) if self._goal.cell else np.zeros((len(moving), 3, 3))
        for one, where, on_cell in zip(moving, places(moving), on_cells, strict=True):
            found = self.relaxed[one.number]
            if one.failure is not None:
                found.failure = str(one.failure)
            else:
                largest = float(np.linalg.norm(np.concatenate([forces[where], on_cell]), axis=1).max())
                found.last = self._step(one.atoms, max(found.last.step, 0) + further, largest)
                self._rows.append(row_bytes([str(one.number), *found.last.row()]))
                self._frames.append(frame_bytes(one.atoms, structure=one.number, step=found.last.step))
            if self.has_ended(one):
                self._on_end(found)

    def _step(self, atoms: Atoms, step: int, largest: float) -> RelaxationStep:
        periodic = bool(atoms.pbc.all())
        return RelaxationStep(
            step=step,
            energy=float(result(atoms, "energy")),
            fmax=largest,
            pressure=static_pressure(atoms) if periodic else None,
            volume=atoms.get_volume() if periodic else None,
            converged=largest < self._goal.fmax,
        )


def _optimiser(goal: Goal, model: HaloclineModel) -> tuple[Any, Any]:
    """torch-sim's functions that begin and that go on; parameters are those of ASE's FIRE."""
    if not goal.cell:
        return movers.fire(model)
    return movers.fire_of_cells(model, hydrostatic=goal.hydrostatic, pressure=goal.pressure * units.GPa)


def _batcher(model: HaloclineModel, structures: Sequence[Atoms], batch_atoms: int) -> InFlightAutoBatcher:
    largest = max(map(len, structures))
    return InFlightAutoBatcher(model, memory_scales_with="n_atoms", max_memory_scaler=max(batch_atoms, largest))


def _check_goal(goal: Goal, model: HaloclineModel) -> None:
    if goal.optimiser != "fire":
        raise UsageError(f"torch-sim has no optimiser {goal.optimiser}: take --optimiser fire, or --engine ase.")
    if goal.cell and not model.potential.backbone.derives_stress:
        raise UsageError(
            "The model has no stress, or one that is no derivative of its energy: the cell cannot relax with it."
        )


def _check_cells(structures: Sequence[Atoms]) -> None:
    for number, atoms in enumerate(structures):
        if not atoms.pbc.all():
            reason = "Only the cell of a structure that is periodic in all three directions can relax."
        elif np.linalg.det(atoms.cell.array) < 0:  # torch-sim takes the determinant for the volume
            reason = "Its lattice vectors are left-handed, which torch-sim cannot relax: exchange two of them."
        else:
            continue
        raise StructureError(f"Structure {number}: {reason}")
