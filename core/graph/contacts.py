"""What surrounds the atoms of a structure: how near they come, and how many neighbours they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.graph import Graph
from halocline.shares import timed

#: Neighbours of an element of which there is no atom: any number is fewer, or more.
_NO_ATOM = (np.iinfo(np.int64).max, -1)


@final
@dataclass(frozen=True, slots=True)
class Contacts:
    """Distances and numbers of neighbours of S elements, over one structure or several.

    Attributes:
        elements: (S,) int64, atomic numbers, ascending.
        shortest: (S, S) float64, Å, from an atom of one element to the nearest of the other, symmetric; infinite
            where none are neighbours.
        pairs: (S, S, 2) int64, which two atoms they are, the lower first; -1 where there are none.
        fewest: (S,) int64, neighbours of the atom of each element that has fewest.
        most: (S,) int64, of the one that has most.
    """

    elements: NDArray[np.int64]
    shortest: NDArray[np.float64]
    pairs: NDArray[np.int64]
    fewest: NDArray[np.int64]
    most: NDArray[np.int64]

    @classmethod
    @timed("result")
    def of(cls, graph: Graph, owned: int | None = None) -> Contacts:
        """Measure the edges of a graph; nothing is searched.

        Args:
            graph: of a structure, or of the atoms that a rank holds.
            owned: the first so many of those atoms have all their neighbours; only these are counted.
        """
        edges, counted = graph.edges, graph.structure.numbers[:owned]
        elements, kinds = np.unique(graph.structure.numbers, return_inverse=True)
        size = len(elements)
        kinds = kinds.astype(np.min_scalar_type(size**2))
        codes = kinds[edges.receivers] * kinds.dtype.type(size) + kinds[edges.senders]
        squares = np.einsum("ij,ij->i", graph.vectors, graph.vectors)
        nearest = np.full(size**2, np.inf)
        np.minimum.at(nearest, codes, squares)
        found = np.flatnonzero(squares == nearest[codes])[::-1]  # reversed: of equals, the first is written last
        pairs = np.full((size**2, 2), -1, np.int64)
        pairs[codes[found]] = np.sort(np.column_stack((edges.receivers[found], edges.senders[found])))
        starts = np.searchsorted(edges.receivers, np.arange(len(counted) + 1))
        fewest, most = (np.full(size, start, np.int64) for start in _NO_ATOM)
        np.minimum.at(fewest, kinds[: len(counted)], np.diff(starts))
        np.maximum.at(most, kinds[: len(counted)], np.diff(starts))
        shape = (size, size)
        return _symmetric(cls(elements, np.sqrt(nearest).reshape(shape), pairs.reshape(*shape, 2), fewest, most))

    @classmethod
    def merge(cls, several: Sequence[Contacts]) -> Contacts:
        """Of everything that several describe; of equals, the first counts."""
        elements = np.unique(np.concatenate([each.elements for each in several]))
        size = len(elements)
        shortest, pairs = np.full((size, size), np.inf), np.full((size, size, 2), -1, np.int64)
        fewest, most = (np.full(size, start, np.int64) for start in _NO_ATOM)
        for each in several:
            at = np.searchsorted(elements, each.elements)
            square = np.ix_(at, at)
            nearer = each.shortest < shortest[square]
            pairs[square] = np.where(nearer[..., None], each.pairs, pairs[square])
            shortest[square] = np.minimum(shortest[square], each.shortest)
            fewest[at] = np.minimum(fewest[at], each.fewest)
            most[at] = np.maximum(most[at], each.most)
        return cls(elements, shortest, pairs, fewest, most)

    def renumbered(self, atoms: NDArray[np.int64]) -> Contacts:
        """With the numbers that atoms (n,) have elsewhere."""
        pairs = np.sort(np.where(self.pairs < 0, -1, atoms[self.pairs]), axis=-1)
        return replace(self, pairs=pairs)


def _symmetric(contacts: Contacts) -> Contacts:
    """Where a neighbour need not see its receiver, the two directions differ; the shorter one counts for both."""
    shortest, pairs = contacts.shortest, contacts.pairs
    other = shortest > shortest.T
    pairs = np.where(other[..., None], pairs.swapaxes(0, 1), pairs)
    return replace(contacts, shortest=np.minimum(shortest, shortest.T), pairs=pairs)
