"""Blocks of a grid, cut so that each has the same work."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Graph
from halocline.partition.division import Partitioner
from halocline.plugins.partitioners.coordinates import QUANTUM, coordinates, ranks
from halocline.plugins.partitioners.work import quantile_cells, work_of

#: A structure that is flat in some direction is taken to be this thick, Å.
ATOM = 1.0


@final
class GridPartitioner(Partitioner):
    """Slabs, rods of slabs and blocks of rods, at quantiles of the work.

    Equally wide blocks would leave parts in a vacuum empty and those in a dense phase with several times the mean;
    quantiles balance every structure, and in a uniform one are equally wide.
    """

    def owners(self, graph: Graph, parts: int) -> NDArray[np.int64]:
        """See `Partitioner.owners`."""
        points = coordinates(graph.structure)
        shape = grid_shape(parts, QUANTUM * points.max(axis=0), graph.structure.pbc)
        return quantile_cells(ranks(points), work_of(graph), shape)


def grid_shape(parts: int, extents: NDArray[np.float64], periodic: NDArray[np.bool_]) -> tuple[int, int, int]:
    """The grid of so many blocks whose cuts have the least area.

    Args:
        parts: how many blocks.
        extents: (3,) Å, of the structure perpendicular to the cuts of each direction.
        periodic: (3,) whether the first block of a direction meets the last one.
    """
    shapes = np.array([(i, j, parts // (i * j)) for i in _divisors(parts) for j in _divisors(parts // i)])
    # A periodic direction in one piece meets only itself and has no cut.
    cuts = np.where(periodic & (shapes > 1), shapes, shapes - 1)
    areas = (cuts / np.maximum(extents, ATOM)).sum(axis=1)  # in units of the volume
    first = np.flatnonzero(areas <= areas.min() * (1.0 + 1e-9))[0]  # whatever rounding says of equal ones
    x, y, z = shapes[first].tolist()
    return x, y, z


def _divisors(number: int) -> list[int]:
    """All divisors, in increasing order."""
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
