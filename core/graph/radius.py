"""All pairs within a cutoff, for every kind of cell."""

from __future__ import annotations

import math

import numpy as np
import vesin
from numpy.typing import NDArray

from halocline.errors import StructureError
from halocline.graph.edges import Edges
from halocline.graph.structure import Structure

#: Refuse structures with more neighbours per atom than this: the cell or the cutoff is a mistake.
MOST_NEIGHBOURS = 50_000

#: Searched a little wider than asked (relative), then cut exactly, so that rounding in the search decides nothing.
MARGIN = 1e-6


def radius_edges(structure: Structure, cutoff: float) -> Edges:
    """Find every pair nearer than ``cutoff`` (Å), in both directions.

    Raises:
        StructureError: so many neighbours that the cell or the cutoff must be a mistake.
    """
    reach = cutoff * (1.0 + MARGIN)
    points, box = _compact(structure, reach)
    _refuse_crowds(structure, box, reach)
    search = vesin.NeighborList(cutoff=reach, full_list=True)
    receivers, senders, shifts = search.compute(points=points, box=box, periodic=structure.pbc, quantities="ijS")
    edges = Edges(*(array.astype(np.int64, copy=False) for array in (receivers, senders, shifts)))
    del search, receivers, senders, shifts  # at a million atoms each array is a gigabyte
    vectors = edges.vectors(structure)
    inside = np.einsum("ij,ij->i", vectors, vectors) < cutoff**2
    del vectors
    return (edges if inside.all() else edges[inside]).sorted()


def _compact(structure: Structure, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give open directions a box that just holds the atoms, and close gaps wider than the reach.

    Shortening a gap that no pair bridges changes no pair within reach, and keeps the time of the search
    bounded by the atoms instead of the distance between them (two molecules a metre apart are legal).

    Returns:
        Points (N, 3) and a full-rank box (3, 3), both in Å.
    """
    box, points = structure.cell.copy(), structure.positions.copy()
    axes = _complement(structure.cell[structure.pbc])
    for row, axis in zip(np.flatnonzero(~structure.pbc), axes, strict=True):
        along = points @ axis
        order = np.argsort(along, kind="stable")
        gaps = np.minimum(np.diff(along[order], prepend=along[order[0]]), 2.0 * reach)
        target = np.empty_like(along)
        target[order] = np.cumsum(gaps)
        points += (target - along)[:, None] * axis
        box[row] = axis * (float(target.max()) + 2.0 * reach)
    return points, box


def _complement(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal axes (3 - n, 3) perpendicular to n independent vectors (n, 3)."""
    if len(vectors) == 0:
        return np.eye(3)
    return np.asarray(np.linalg.svd(vectors)[2][len(vectors) :], dtype=np.float64)


def _refuse_crowds(structure: Structure, box: NDArray[np.float64], reach: float) -> None:
    """Estimate the number of periodic images before the search allocates them."""
    if not structure.pbc.any():
        return
    heights = abs(np.linalg.det(box)) / np.linalg.norm(np.cross(np.roll(box, -1, 0), np.roll(box, -2, 0)), axis=1)
    images = math.prod(max(1.0, 2.0 * reach / float(h)) for h, p in zip(heights, structure.pbc, strict=True) if p)
    if images * len(structure) > MOST_NEIGHBOURS * max(1.0, len(structure) / 1000):
        raise StructureError(
            f"The periodic cell is far too small: about {images * len(structure):.0f} neighbours of each atom "
            f"lie within {reach:.3g} Å. Check the cell and its unit (Å)."
        )
