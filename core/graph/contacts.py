"""What surrounds the atoms of a structure: how near they come, and how many neighbours they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.graph import Graph
from halocline.graph.joint import JointGraph
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
        (contacts,) = _of_each(graph, np.zeros(len(graph.structure), np.int64), np.zeros(1, np.int64), owned)
        return contacts

    @classmethod
    def of_each(cls, joint: JointGraph) -> list[Contacts]:
        """Of each of several structures, with the numbers that its atoms have in it."""
        return _of_each(joint.graph, joint.of_atoms, joint.atoms[:-1])

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
        """The same contacts, whose atoms go by the numbers (n,) that they have elsewhere."""
        pairs = np.sort(np.where(self.pairs < 0, -1, atoms[self.pairs]), axis=-1)
        return replace(self, pairs=pairs)


def _of_each(
    graph: Graph, of_atoms: NDArray[np.int64], starts: NDArray[np.int64], owned: int | None = None
) -> list[Contacts]:
    """Contacts of S structures, whose atoms follow each other.

    Args:
        graph: of all N atoms.
        of_atoms: (N,), the structure of each.
        starts: (S,), the first atom of each structure, from which `Contacts.pairs` count.
        owned: as for `Contacts.of`.
    """
    edges, counted = graph.edges, graph.structure.numbers[:owned]
    elements, kinds = np.unique(graph.structure.numbers, return_inverse=True)
    count, size = len(starts), len(elements)
    whole = np.min_scalar_type(count * size**2)  # codes are as short as they may be: there are as many as edges
    kinds = (of_atoms * size + kinds).astype(whole)  # S times size of them
    element = kinds % whole.type(size) if count > 1 else kinds
    codes = (kinds * whole.type(size)).take(edges.receivers) + element.take(edges.senders)
    nearest = np.full(count * size**2, np.inf)
    np.minimum.at(nearest, codes, graph.squares)
    # Reversed: of equals, the first is written last.
    found = np.flatnonzero(graph.squares == nearest.take(codes))[::-1]
    pairs = np.full((count * size**2, 2), -1, np.int64)
    pairs[codes[found]] = np.sort(np.column_stack((edges.receivers[found], edges.senders[found])))
    ends = pairs.reshape(count, size, size, 2)
    ends = np.where(ends < 0, -1, ends - starts[:, None, None, None])
    rows = np.searchsorted(edges.receivers, np.arange(len(counted) + 1))
    fewest, most = (np.full(count * size, start, np.int64) for start in _NO_ATOM)
    np.minimum.at(fewest, kinds[: len(counted)], np.diff(rows))
    np.maximum.at(most, kinds[: len(counted)], np.diff(rows))
    there = np.zeros(count * size, np.bool_)
    there[kinds] = True
    shortest, ends = _symmetric(np.sqrt(nearest).reshape(count, size, size), ends)
    columns = (shortest, ends, fewest.reshape(count, size), most.reshape(count, size))
    return [
        _reduced(elements, has, *each) for has, *each in zip(there.reshape(count, size), *columns, strict=True)
    ]


def _reduced(
    elements: NDArray[np.int64],
    there: NDArray[np.bool_],
    shortest: NDArray[np.float64],
    pairs: NDArray[np.int64],
    fewest: NDArray[np.int64],
    most: NDArray[np.int64],
) -> Contacts:
    """Without the elements that are only in other structures."""
    if there.all():
        return Contacts(elements, shortest, pairs, fewest, most)
    square = np.ix_(there, there)
    return Contacts(elements[there], shortest[square], pairs[square], fewest[there], most[there])


def _symmetric(
    shortest: NDArray[np.float64], pairs: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where a neighbour need not see its receiver, the two directions differ; the shorter one counts for both."""
    turned = shortest.swapaxes(1, 2)
    other = shortest > turned
    return np.minimum(shortest, turned), np.where(other[..., None], pairs.swapaxes(1, 2), pairs)
