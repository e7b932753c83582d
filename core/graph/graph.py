"""The neighbour graph that everything downstream works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import StructureError
from halocline.graph.edges import Edges, squared_lengths
from halocline.graph.index_sets import NO_SETS, IndexSets
from halocline.graph.structure import Structure

#: Two atoms nearer than this (Å) count as one point, where directions and forces are undefined.
COINCIDENT = 1e-4

#: Å². Only where an edge is shorter is its length looked at; far enough from the limit for rounding.
_SUSPECT = 2.0 * COINCIDENT**2


@final
@dataclass(frozen=True, slots=True)
class Graph:
    """A structure with exactly the edges that its model asks for.

    Attributes:
        structure: the N atoms.
        edges: the E directed edges, sorted by receiver.
        vectors: (E, 3) float64, Å, from receiver to sender, periodic shifts included.
        squares: (E,) float64, Å², of their lengths.
        partners: (E,) int64, the opposite of each edge, or itself if that is not in the list; None where the rule
            is not symmetric.
        sets: which of the edges belong to each rule of a model with several lists.
    """

    structure: Structure
    edges: Edges
    vectors: NDArray[np.float64]
    squares: NDArray[np.float64]
    partners: NDArray[np.int64] | None
    sets: IndexSets = NO_SETS

    @classmethod
    def build(
        cls,
        structure: Structure,
        edges: Edges,
        partners: NDArray[np.int64] | None = None,
        ids: NDArray[np.int64] | None = None,
        vectors: NDArray[np.float64] | None = None,
        squares: NDArray[np.float64] | None = None,
        sets: IndexSets = NO_SETS,
    ) -> Graph:
        """Form the edge vectors, in float64.

        Args:
            structure: the N atoms.
            edges: between them.
            partners: see the attribute.
            ids: (N,), by which messages name the atoms; their places by default.
            vectors: (E, 3) Å, of the edges, if they are known already.
            squares: (E,) Å², of those vectors' lengths, likewise.
            sets: see the attribute.

        Raises:
            StructureError: two atoms sit on one point.
        """
        vectors = edges.vectors(structure) if vectors is None else vectors
        squares = squared_lengths(vectors) if squares is None else squares
        if len(vectors) and squares.min() < _SUSPECT:
            shortest = int(squares.argmin())
            if np.linalg.norm(vectors[shortest]) < COINCIDENT:
                pair = np.array((edges.receivers[shortest], edges.senders[shortest]))
                pair = np.sort(pair if ids is None else ids[pair])
                raise StructureError(
                    f"Atoms {pair[0]} and {pair[1]} sit on one point; remove or move one of them."
                )
        return cls(structure, edges, vectors, squares, partners, sets)
