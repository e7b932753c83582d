"""Graph partitioning with METIS."""

from __future__ import annotations

from importlib import import_module
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from halocline.errors import UsageError
from halocline.graph import Graph
from halocline.partition.division import Partitioner
from halocline.plugins.partitioners.coordinates import QUANTUM, coordinates, ranks
from halocline.plugins.partitioners.grid import ATOM
from halocline.plugins.partitioners.work import quantile_cells, work_of

#: METIS divides at most so many vertices: time and memory of a million atoms stay below those of their neighbour
#: list. Halos are a fifth smaller where each atom is a vertex of its own.
MOST_VERTICES = 100_000

#: Unless parts would have fewer than this, which could not be balanced to a per cent.
VERTICES_IN_PART = 100

#: The imbalance that METIS may leave, in thousandths. Its default of 30 costs more than its smaller halos save.
IMBALANCE = 10


@final
class MetisPartitioner(Partitioner):
    """Parts of equal work with few edges between them, whatever their shape.

    Large structures are divided as a coarse graph: small cells of equal work, connected by as many edges as there
    are between their atoms.

    Raises:
        UsageError: pymetis is not installed.
    """

    def __init__(self) -> None:
        self._metis = _pymetis()

    def owners(self, graph: Graph, parts: int) -> NDArray[np.int64]:
        """See `Partitioner.owners`."""
        atoms = len(graph.structure)
        if parts >= atoms:
            return np.arange(atoms)
        if parts == 1:
            return np.zeros(atoms, np.int64)
        vertices = _vertices(graph, parts)
        edges = _edges_between(graph, vertices)
        work = np.bincount(vertices, work_of(graph)).astype(np.int64)
        divided = self._metis.part_graph(
            parts,
            self._metis.CSRAdjacency(edges.indptr, edges.indices),
            vweights=work,
            eweights=edges.data,
            recursive=False,
            options=self._metis.Options(seed=0, ufactor=IMBALANCE),
        )
        return np.asarray(divided.vertex_part, np.int64)[vertices]


def _vertices(graph: Graph, parts: int) -> NDArray[np.int64]:
    """The vertex of each atom, (N,): itself, or a cell of a few atoms in large structures."""
    atoms = len(graph.structure)
    count = max(MOST_VERTICES, VERTICES_IN_PART * parts)
    if count >= atoms:
        return np.arange(atoms)
    points = coordinates(graph.structure)
    extents = np.maximum(QUANTUM * points.max(axis=0), ATOM)
    x, y, z = np.maximum(1, np.rint(extents * np.cbrt(count / extents.prod()))).astype(int).tolist()
    cells = quantile_cells(ranks(points), work_of(graph), (x, y, z))
    return np.asarray(np.unique(cells, return_inverse=True)[1], np.int64)


def _edges_between(graph: Graph, vertices: NDArray[np.int64]) -> Any:
    """Symmetric matrix of the number of edges between vertices, without the diagonal, in rows."""
    ends = vertices[graph.edges.receivers], vertices[graph.edges.senders]
    apart = ends[0] != ends[1]
    rows, columns = ends[0][apart], ends[1][apart]
    size = int(vertices.max()) + 1
    counted = coo_array((np.ones(len(rows), np.int64), (rows, columns)), shape=(size, size)).tocsr()
    return (counted + counted.T).tocsr()


def _pymetis() -> Any:
    """Import METIS."""
    try:
        return import_module("pymetis")
    except ModuleNotFoundError:
        raise UsageError(
            "The partitioner 'metis' needs the package pymetis, which is missing: "
            "pip install 'halocline[metis]', or take 'rcb', which needs nothing."
        ) from None
