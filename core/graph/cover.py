"""How long the neighbours of one search will do, while atoms move."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from halocline.graph.compiled import address, plain, steps
from halocline.graph.structure import Structure, same_bits
from halocline.shares import timed


@timed("list")
def covers(searched: Structure, structure: Structure, cutoff: float, skin: float) -> bool:
    """Whether no pair that a search left out can have come within the cutoff.

    With F the map from the old cell to the new and u the displacements beyond F, an old vector v becomes
    v F + u_j - u_i, at least σ_min(F) |v| - 2 max|u| long. Pairs left out had |v| ≥ cutoff + skin.

    Args:
        searched: as the structure was then.
        structure: as it is now.
        cutoff: Å; infinite where there is no distance within which neighbours must lie.
        skin: Å, by which the search went farther.
    """
    if cutoff == np.inf:
        return False
    if not (same_bits(searched.numbers, structure.numbers) and same_bits(searched.pbc, structure.pbc)):
        return False
    strain = _map_between(searched, structure)
    if strain is None and steps.functions is not None:
        now, then = plain(structure.positions, np.float64), plain(searched.positions, np.float64)
        square = steps.functions.farthest(len(structure), address(now), address(then))
        return 2.0 * math.sqrt(square) <= (cutoff + skin) - cutoff
    moved = structure.positions - (searched.positions if strain is None else searched.positions @ strain)
    shrunk = 1.0 if strain is None else float(np.linalg.svd(strain, compute_uv=False)[-1])
    room = shrunk * (cutoff + skin) - cutoff
    if 2.0 * math.sqrt(np.vdot(moved, moved)) <= room:  # no atom has moved farther than all together
        return True
    farthest = float(np.sqrt(np.max(np.einsum("ij,ij->i", moved, moved))))
    return 2.0 * farthest <= room


def _map_between(old: Structure, new: Structure) -> NDArray[np.float64] | None:
    """The map F with old periodic vectors · F = new ones; open directions stay. None for the identity."""
    if same_bits(old.cell, new.cell):
        return None
    before, after = old.cell[old.pbc], new.cell[new.pbc]
    if np.array_equal(before, after):
        return None
    return np.asarray(np.eye(3) + np.linalg.pinv(before) @ (after - before))
