"""A structure that torch-sim moves, followed as ASE's atoms with what the model says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, final

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from torch import Tensor
from torch_sim.io import atoms_to_state
from torch_sim.state import SimState

from halocline.engines.torch_sim.model import DTYPE, HaloclineModel
from halocline.errors import HaloclineError, StructureError, UsageError
from halocline.evaluator.result import Result
from halocline.model.condition import read_conditions, taken_entries
from halocline.potential.potential import Potential

#: Atoms that move together, by default: many small structures, and few MiB of states.
BATCH_ATOMS: Final = 10_000


@final
class Told:
    """What a model has said of a structure, where ASE looks for a calculator's results."""

    def __init__(self, result: Result, taken: set[str]) -> None:
        self.results: dict[str, Any] = {
            "energy": result.energy,
            "energies": result.energies,
            "forces": result.forces,
        }
        if result.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(result.stress)
        self.outside, self.spread, self.taken_entries = result.outside, result.spread, taken

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """See ASE; nothing is computed."""
        del atoms, allow_calculation
        if name not in self.results:
            raise PropertyNotImplementedError(f"The model does not say the {name} of this structure.")
        return self.results[name]


@final
class Followed:
    """One structure of a file.

    Args:
        number: in the file, from 0.
        atoms: as they start; they are changed.
        potential: the model.

    Attributes:
        number: see above.
        atoms: as they are now. torch-sim wraps positions into the cell, here they go on where they were.
        failure: why the last step has no results; None if it has.
    """

    def __init__(self, number: int, atoms: Atoms, potential: Potential) -> None:
        self.number, self.atoms = number, atoms
        self.failure: HaloclineError | None = None
        self._taken = taken_entries(potential.backbone.conditions)
        self._periodic = bool(atoms.pbc.all())

    def take(
        self,
        result: Result | HaloclineError,
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
        momenta: NDArray[np.float64] | None = None,
    ) -> None:
        """Take over a step.

        Args:
            result: of the model, or its error.
            positions: (N, 3), Å.
            cell: (3, 3), Å, vectors in rows.
            momenta: (N, 3), in ASE's units.
        """
        if isinstance(result, HaloclineError):
            self.failure = result
            return
        if self._periodic:
            before = self.atoms.get_scaled_positions(wrap=False)
            positions = positions - np.rint(positions @ np.linalg.inv(cell) - before) @ cell
            self.atoms.set_cell(cell)
        self.atoms.set_positions(positions, apply_constraint=False)
        if momenta is not None:
            self.atoms.set_momenta(momenta, apply_constraint=False)
        self.atoms.calc = Told(result, self._taken)


def take_all(followed: Sequence[Followed], state: SimState, model: HaloclineModel) -> None:
    """Take over a step of all structures of a state, right after torch-sim has evaluated it.

    Args:
        followed: in the order of the state.
        state: with ``momenta`` in dynamics.
        model: that has evaluated it last.
    """
    positions, momenta = array(state.positions), getattr(state, "momenta", None)
    moving = None if momenta is None else array(momenta)
    cells = array(state.row_vector_cell)
    for one, where, cell, result in zip(followed, places(followed), cells, model.results, strict=True):
        one.take(result, positions[where], cell, None if moving is None else moving[where])


def require_results(followed: Sequence[Followed]) -> None:
    """Refuse structures that cannot be evaluated, or without the pressure that a log needs.

    Raises:
        HaloclineError: of the first that cannot be evaluated.
        UsageError: it is periodic, and the model has no stress.
    """
    for one in followed:
        if one.failure is not None:
            raise type(one.failure)(f"Structure {one.number}: {one.failure}") from one.failure
        if one.atoms.pbc.all() and "stress" not in one.atoms.calc.results:
            raise UsageError("The model has no stress, which periodic structures are logged with: --engine ase.")


def places(followed: Sequence[Followed]) -> Iterator[slice]:
    """Where in a state the atoms of each of its structures are."""
    first = 0
    for one in followed:
        yield slice(first, first + len(one.atoms))
        first += len(one.atoms)


def state_of(structures: Sequence[Atoms], model: HaloclineModel) -> SimState:
    """A state of torch-sim of structures, in their order."""
    return atoms_to_state(list(structures), model.device, DTYPE)


def check_structures(structures: Sequence[Atoms], model: HaloclineModel) -> None:
    """Refuse what torch-sim would not keep to.

    Raises:
        StructureError: names the first such structure.
        UsageError: there are none.
    """
    if not structures:
        raise UsageError("There are no structures to move.")
    for number, atoms in enumerate(structures):
        if reason := _refusal(atoms, structures[0], model.potential, model.head):
            raise StructureError(f"Structure {number}: {reason}")


def _refusal(atoms: Atoms, first: Atoms, potential: Potential, head: str | None) -> str | None:
    if not len(atoms):
        return "It has no atoms."
    if atoms.constraints:
        name = type(atoms.constraints[0]).__name__
        return f"It carries the constraint {name}, which torch-sim does not keep; take --engine ase."
    if len(set(atoms.pbc.tolist())) > 1:
        return "It is periodic in some directions only, which torch-sim does not know; take --engine ase."
    if atoms.pbc.any() != first.pbc.any():
        return "It is periodic and structure 0 is not, or the other way round; torch-sim moves one kind at once."
    conditions = potential.backbone.conditions
    stated = read_conditions(conditions, atoms.info, head)
    if conditions and not _same(stated, conditions, head):
        names = ", ".join(sorted(taken_entries(conditions) & set(atoms.info)))
        return f"It states {names}, for which torch-sim has no place: give --head, or take --engine ase."
    return None


def _same(stated: dict[str, float], conditions: Any, head: str | None) -> bool:
    """Whether a structure that states nothing would be told the same."""
    try:
        return stated == read_conditions(conditions, {}, head)
    except StructureError:
        return False


def array(tensor: Tensor) -> NDArray[np.float64]:
    """Numbers of a state, on the CPU."""
    found: NDArray[np.float64] = tensor.detach().to("cpu", torch.float64).numpy()
    return found
