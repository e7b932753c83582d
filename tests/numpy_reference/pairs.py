"""All neighbours by brute force over periodic images."""

from __future__ import annotations

import itertools

import numpy as np


def brute_force_pairs(atoms, cutoff):
    """Edges as a sorted list of (receiver, sender, shift), and the vectors (E, 3) from receiver to sender."""
    found = []
    for receiver, sender in itertools.product(range(len(atoms)), repeat=2):
        apart = atoms.positions[sender] - atoms.positions[receiver]
        shifts = _shifts_to_look_at(atoms, apart, cutoff)
        vectors = apart + shifts @ atoms.cell.array
        itself = (receiver == sender) & ~shifts.any(axis=1)
        for i in np.flatnonzero((np.linalg.norm(vectors, axis=1) < cutoff) & ~itself):
            found.append(((receiver, sender, tuple(shifts[i].tolist())), vectors[i]))
    found.sort(key=lambda item: item[0])
    return [key for key, _ in found], np.array([vector for _, vector in found]).reshape(-1, 3)


def _shifts_to_look_at(atoms, apart, cutoff):
    """All images (M, 3) in a box around the nearest; its sides are the cutoff over the heights of the cell."""
    if not atoms.pbc.any():
        return np.zeros((1, 3), int)
    reciprocal = np.linalg.pinv(np.where(atoms.pbc[:, None], atoms.cell.array, 0.0))  # columns: one over heights
    centre = np.rint(-apart @ reciprocal).astype(int)
    reach = np.ceil(cutoff * np.linalg.norm(reciprocal, axis=0)).astype(int) + 1
    ranges = [np.arange(c - r, c + r + 1) if p else [0] for c, r, p in zip(centre, reach, atoms.pbc, strict=True)]
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
