"""Coordinates in which cuts are made: wrapped, without wide gaps, and whole numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Structure

#: Coordinates are multiples of this length, Å. Far above rounding, so that atoms of one crystal plane stay in one
#: plane when they are moved by lattice vectors; far below any distance between atoms.
QUANTUM = 1e-6

#: Gaps without atoms are closed to this width, Å: parts separated by vacuum would be no better for a wider one.
GAP = 10.0


def coordinates(structure: Structure) -> NDArray[np.int64]:
    """Distances of atoms from the three planes that bound the structure, (N, 3), in units of `QUANTUM`.

    Distances are perpendicular to the planes of the cell. Periodic directions are wrapped and begin behind their
    widest gap, so that a slab or a particle that straddles the border of its cell is whole again. Open directions
    are perpendicular to the periodic ones and to one another. Nothing depends on the order of atoms.
    """
    inverse = np.linalg.inv(_basis(structure))
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    points = np.empty((len(structure), 3), np.int64)
    for axis in range(3):
        # One product at a time: a matrix product rounds a row differently depending on where it stands.
        x, y, z = (structure.positions * (inverse[:, axis] * heights[axis])).T
        along = x + y + z
        points[:, axis] = _closed(_unrolled(along, heights[axis]) if structure.pbc[axis] else along)
    return points


def ranks(points: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of atoms along each direction, (N, 3): atoms side by side are told apart by the other directions."""
    places = np.empty_like(points)
    for axis in range(3):
        order = np.lexsort((points[:, axis - 2], points[:, axis - 1], points[:, axis]))
        places[order, axis] = np.arange(len(points))
    return places


def _basis(structure: Structure) -> NDArray[np.float64]:
    """The cell, with unit vectors perpendicular to the periodic ones in open directions, (3, 3)."""
    basis = structure.cell.copy()
    periodic = structure.cell[structure.pbc]
    basis[~structure.pbc] = np.linalg.svd(periodic)[2][len(periodic) :] if len(periodic) else np.eye(3)
    return basis


def _unrolled(along: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    """Coordinates of a periodic direction, counted from the atom behind the widest gap."""
    period = max(1, round(height / QUANTUM))
    fractions = along / height
    wrapped = np.rint((fractions - np.floor(fractions)) * period).astype(np.int64) % period
    ordered = np.sort(wrapped)
    start = ordered[np.argmax(np.diff(ordered, prepend=ordered[-1] - period))]
    return np.asarray(QUANTUM * ((wrapped - start) % period))


def _closed(distances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole coordinates from zero on, with wide gaps closed."""
    order = np.argsort(distances, kind="stable")
    ordered = distances[order]
    closed = np.empty(len(distances), np.int64)
    gaps = np.minimum(np.diff(ordered, prepend=ordered[0]), GAP)
    closed[order] = np.rint(np.cumsum(gaps) / QUANTUM)
    return closed
