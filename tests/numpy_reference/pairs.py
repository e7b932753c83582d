"""All neighbours by brute force over periodic images."""

from __future__ import annotations

import itertools

import numpy as np


def brute_force_pairs(atoms, cutoff):
    """Edges as a sorted list of (receiver, sender, shift), and the vectors (E, 3) from receiver to sender."""
    ranges = [range(-n, n + 1) for n in _images_needed(atoms, cutoff)]
    found = []
    for receiver, sender in itertools.product(range(len(atoms)), repeat=2):
        for shift in itertools.product(*ranges):
            if receiver == sender and shift == (0, 0, 0):
                continue
            vector = atoms.positions[sender] - atoms.positions[receiver] + shift @ atoms.cell.array
            if np.linalg.norm(vector) < cutoff:
                found.append(((receiver, sender, shift), vector))
    found.sort(key=lambda item: item[0])
    return [key for key, _ in found], np.array([vector for _, vector in found]).reshape(-1, 3)


def _images_needed(atoms, cutoff):
    """Images to look at in each direction, counting how far atoms lie outside the cell."""
    if not atoms.pbc.any():
        return [0, 0, 0]
    reciprocal = np.linalg.pinv(atoms.cell.array)  # columns: one over the height along each lattice vector
    spread = np.ptp(atoms.positions @ reciprocal, axis=0)
    reach = cutoff * np.linalg.norm(reciprocal, axis=0) + spread
    return [int(np.ceil(r)) if p else 0 for r, p in zip(reach, atoms.pbc, strict=True)]
