"""What is balanced between parts, and cells of equal shares of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Graph


def work_of(graph: Graph) -> NDArray[np.int64]:
    """Work that an atom brings to its owner, (N,): one for each edge that it receives, and one for itself."""
    return 1 + np.bincount(graph.edges.receivers, minlength=len(graph.structure))


def middles(work: NDArray[np.int64]) -> NDArray[np.int64]:
    """Twice the work up to the middle of each atom of a row: cutting there misplaces at most half an atom."""
    return 2 * np.cumsum(work) - work


def quantile_cells(
    places: NDArray[np.int64], work: NDArray[np.int64], shape: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Cut into slabs of equal work, each slab into rods of equal work, and each rod into cells of equal work.

    Args:
        places: (N, 3), ranks of atoms along the three directions.
        work: (N,), of the atoms.
        shape: slabs, rods in a slab, cells in a rod.

    Returns:
        (N,) the cell of each atom, numbered with the last direction fastest.
    """
    cells = np.zeros(len(work), np.int64)
    for axis, count in enumerate(shape):
        order = np.argsort(cells * len(work) + places[:, axis])
        row, sorted_work = cells[order], work[order]
        total = np.bincount(row, sorted_work).astype(np.int64)
        before = np.cumsum(total) - total
        reached = middles(sorted_work) - 2 * before[row]
        cells[order] = row * count + reached * count // (2 * total[row])
    return cells
