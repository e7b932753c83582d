"""Molecules: atoms that are bonded with each other, directly or by others."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import final

import numpy as np
from ase.formula import Formula
from ase.symbols import Symbols
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from halocline.audit.geometry.bonds import Surroundings
from halocline.graph.graph import Edges


@final
@dataclass(frozen=True, slots=True)
class Molecules:
    """The molecules of a structure of N atoms.

    Attributes:
        count: how many.
        of_atoms: (N,) int64, to which each atom belongs, from 0.
        formulas: how many there are of each formula, in Hill's order of elements.
    """

    count: int
    of_atoms: NDArray[np.int64]
    formulas: dict[str, int]


def molecules_of(surroundings: Surroundings) -> Molecules | None:
    """Find the molecules of a structure by its bonds.

    Returns:
        None where the structure is not made of molecules: where bonds go on without end through a periodic
        structure, as in silicon, or where no two atoms are bonded at all, as in argon.
    """
    numbers, bonds = surroundings.structure.numbers, surroundings.edges[surroundings.bonded]
    size = len(numbers)
    count, of_atoms = connected_components(_matrix(bonds.receivers, bonds.senders, size), directed=False)
    if count == size:
        return None
    cells = _cells(bonds, of_atoms)
    if (cells[bonds.senders] + bonds.shifts - cells[bonds.receivers]).any():
        return None  # there is a way by bonds from an atom to its own image
    order = np.argsort(of_atoms, kind="stable")
    members = np.split(numbers[order], np.cumsum(np.bincount(of_atoms))[:-1])
    formulas = Counter(_formula(tuple(sorted(each.tolist()))) for each in members)
    return Molecules(int(count), of_atoms.astype(np.int64), dict(sorted(formulas.items())))


def _matrix(receivers: NDArray[np.int64], senders: NDArray[np.int64], size: int) -> csr_array:
    """Which atoms are bonded. Two atoms of a small cell may be so several times; how often does not count here."""
    return coo_array((np.ones(len(receivers)), (receivers, senders)), shape=(size, size)).tocsr()


def _cells(bonds: Edges, of_atoms: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N, 3) by how many cells each atom must be moved, so that trees of bonds are not cut by the cell's faces."""
    size = len(of_atoms)
    cells = np.zeros((size, 3), np.int64)
    if not bonds.shifts.any():
        return cells
    pairs = zip(bonds.receivers.tolist(), bonds.senders.tolist(), strict=True)
    shift_of = dict(zip(pairs, bonds.shifts, strict=True))
    # One more place, from which the first atoms of all molecules are reached: one search is enough for all trees.
    _, roots = np.unique(of_atoms, return_index=True)
    top = np.full(len(roots), size)
    matrix = _matrix(np.append(bonds.receivers, top), np.append(bonds.senders, roots), size + 1)
    order, before = breadth_first_order(matrix, size)
    for atom in order[1:].tolist():
        parent = int(before[atom])
        if parent != size:
            cells[atom] = cells[parent] - shift_of[parent, atom]
    return cells


@functools.lru_cache(maxsize=1024)
def _formula(numbers: tuple[int, ...]) -> str:
    return Formula(str(Symbols(numbers))).format("hill")
