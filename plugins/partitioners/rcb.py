"""Recursive coordinate bisection."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Graph
from halocline.partition.division import Partitioner
from halocline.plugins.partitioners.coordinates import coordinates, ranks
from halocline.plugins.partitioners.work import middles, work_of


@final
class BisectionPartitioner(Partitioner):
    """Halves the work across the longest side of a set of atoms, then that of each half, and so on.

    A set for an odd number of parts is cut in proportion, so any number of parts is balanced.
    """

    def owners(self, graph: Graph, parts: int) -> NDArray[np.int64]:
        """See `Partitioner.owners`."""
        points, work = coordinates(graph.structure), work_of(graph)
        places = ranks(points)
        owners = np.zeros(len(work), np.int64)
        sets = [(np.arange(len(work)), 0, parts)]
        while sets:
            atoms, first, count = sets.pop()
            if count == 1 or len(atoms) == 0:
                owners[atoms] = first
                continue
            axis = np.argmax(np.ptp(points[atoms], axis=0))
            atoms = atoms[np.argsort(places[atoms, axis])]
            lower = count // 2
            cut = _cut(work[atoms], lower, count)
            sets += [(atoms[:cut], first, lower), (atoms[cut:], first + lower, count - lower)]
        return owners


def _cut(work: NDArray[np.int64], lower: int, count: int) -> int:
    """How many atoms of a row make up ``lower`` of ``count`` shares of its work."""
    return int(np.searchsorted(middles(work) * count, 2 * int(work.sum()) * lower))
