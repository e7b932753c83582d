"""Constraints that survive a file: fixed atoms and fixed Cartesian directions of atoms."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.constraints import FixAtoms, FixCartesian, FixScaled

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
#: What extended XYZ has a column for, ``move_mask``.
WRITABLE = (FixAtoms, FixCartesian)
#: A component of a lattice vector below this part of its length is rounding.
_ROUNDING = 1e-9


def simplify(atoms: Atoms) -> None:
    """Bring constraints that say the same into one form: `FixAtoms`, and one `FixCartesian` for each mask.

    Readers give one constraint for each atom, which is slow, or say by lattice vectors (`FixScaled`) what can be
    said by Cartesian directions. Others stay as they are.
    """
    if not atoms.constraints:
        return
    fixed = np.zeros((len(atoms), 3), dtype=bool)
    others: list[Any] = []
    for constraint in atoms.constraints:
        directions = _directions(constraint, atoms.cell.array)
        if directions is None:
            others.append(constraint)
        else:
            fixed[constraint.index] |= directions
    atoms.set_constraint([*_constraints(fixed), *others])


def writable(atoms: Atoms) -> list[Any]:
    """The constraints that extended XYZ can hold."""
    return [constraint for constraint in atoms.constraints if isinstance(constraint, WRITABLE)]


def fixed_atoms(atoms: Atoms) -> NDArray[np.bool_]:
    """Mask of the atoms that `FixAtoms` holds where they are, (N,)."""
    fixed = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            fixed[constraint.index] = True
    return fixed


def move_mask(atoms: Atoms) -> NDArray[np.bool_] | None:
    """Mask of the atoms, (N,), or of their Cartesian directions, (N, 3), that may move; None if all may."""
    fixed = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in writable(atoms):
        fixed[constraint.index] |= _directions(constraint, atoms.cell.array)
    if not fixed.any():
        return None
    by_direction = any(isinstance(constraint, FixCartesian) for constraint in atoms.constraints)
    return ~fixed if by_direction else ~fixed[:, 0]


def warn_of_unwritable(atoms: Atoms) -> None:
    """Say which constraints whoever reads the output will not know of."""
    names = {type(constraint).__name__ for constraint in atoms.constraints if not isinstance(constraint, WRITABLE)}
    if names:
        _LOG.warning(
            "Extended XYZ cannot hold the constraint %s; set it again before going on from the output.",
            " or ".join(sorted(names)),
        )


def _constraints(fixed: NDArray[np.bool_]) -> list[Any]:
    found: list[Any] = []
    whole = fixed.all(axis=1)
    if whole.any():
        found.append(FixAtoms(np.flatnonzero(whole)))
    in_part = fixed.any(axis=1) & ~whole
    for mask in np.unique(fixed[in_part], axis=0):
        found.append(FixCartesian(np.flatnonzero((fixed == mask).all(axis=1)), mask))
    return found


def _directions(constraint: Any, cell: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """The Cartesian directions in which a constraint holds its atoms, (3,); None if it says something else."""
    if isinstance(constraint, FixAtoms):
        return np.ones(3, dtype=bool)
    if isinstance(constraint, FixCartesian):
        return np.asarray(constraint.mask, dtype=bool)
    if isinstance(constraint, FixScaled):
        vectors = cell[~constraint.mask]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        free = (np.abs(vectors) > _ROUNDING * lengths).any(axis=0)
        return ~free if free.sum() == len(vectors) else None  # else the atoms move in a tilted line or plane
    return None
