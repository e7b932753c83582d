"""Structures in which upstream's guard on angles changes the numbers."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

#: Å, of edges in three-body terms.
CUTOFF = 4.0

#: Both packages keep cos θ this far from ±1, where the derivative of the angle is infinite.
GUARD = 1e-7


def has_straight_angles(atoms: Atoms) -> bool:
    """Whether two neighbours of some atom lie in one line with it, to within the guard."""
    centres, vectors = neighbor_list("iD", atoms, CUTOFF)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for centre in range(len(atoms)):
        cosines = np.abs(directions[centres == centre] @ directions[centres == centre].T)
        np.fill_diagonal(cosines, 0.0)
        if cosines.max(initial=0.0) > 1.0 - GUARD:
            return True
    return False
