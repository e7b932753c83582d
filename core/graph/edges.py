"""Directed edges between neighbours, in one canonical order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.structure import Structure


@final
@dataclass(frozen=True, slots=True)
class Edges:
    """Directed edges from sender to receiver, sorted by receiver, then sender, then shift.

    The order depends only on the set of edges, never on how it was found. Sums over neighbours are
    therefore bit-equal however often the list was rebuilt, which exact restarts rely on.

    Attributes:
        receivers: (E,) int64, the atom that sums the message.
        senders: (E,) int64, the neighbour it comes from.
        shifts: (E, 3) int64, the lattice vectors added to the sender's position.
    """

    receivers: NDArray[np.int64]
    senders: NDArray[np.int64]
    shifts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.receivers)

    def take(self, index: NDArray[np.int64]) -> Edges:
        """Select edges by their places, faster than indexing does; increasing places keep the order."""
        return Edges(self.receivers.take(index), self.senders.take(index), self.shifts.take(index, axis=0))

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Edges:
        """Select edges; an increasing selection keeps the order."""
        return Edges(self.receivers[index], self.senders[index], self.shifts[index])

    @classmethod
    def joined(cls, several: Sequence[Edges]) -> Edges:
        """All edges of several lists, one list after the other."""
        if len(several) == 1:
            return several[0]
        return cls(*(np.concatenate([getattr(edges, name) for edges in several]) for name in cls.__slots__))

    def sorted(self) -> Edges:
        """Return the same edges in canonical order."""
        return self[_order(self.receivers, self.senders, self.shifts)]

    def opposite(self) -> Edges:
        """Each edge in the other direction, in the order of these."""
        return Edges(self.senders, self.receivers, -self.shifts)

    def different(self) -> Edges:
        """Each edge once, of a list in canonical order."""
        new = np.ones(len(self), np.bool_)
        new[1:] = (np.diff(self.receivers) != 0) | (np.diff(self.senders) != 0)
        new[1:] |= np.diff(self.shifts, axis=0).any(axis=1)
        return self[new]

    def vectors(self, structure: Structure) -> NDArray[np.float64]:
        """Vectors from receiver to sender, (E, 3) in Å: r_sender - r_receiver + shift · cell."""
        # `take` copies rows several times faster than indexing does.
        vectors = structure.positions.take(self.senders, axis=0)
        vectors -= structure.positions.take(self.receivers, axis=0)
        # One product at a time, not a matrix product: BLAS rounds a row differently depending on where it stands,
        # and opposite edges must stay exactly opposite. Open directions have no shifts.
        for axis in np.flatnonzero(structure.pbc):
            shifts = self.shifts[:, axis].astype(np.float64)
            for component in np.flatnonzero(structure.cell[axis]):
                vectors[:, component] += shifts * structure.cell[axis, component]
        return vectors

    def partners(self) -> NDArray[np.int64]:
        """The opposite of each edge, (E,): same two atoms, senders and receivers exchanged, shift reversed.

        Holds for symmetric lists in canonical order: the reversed edges, once sorted, are the list itself.
        """
        partners = np.empty(len(self), np.int64)
        partners[_order(self.senders, self.receivers, -self.shifts)] = np.arange(len(self))
        return partners


def squared_lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squares (E,) of the lengths of vectors (E, 3), the same for opposite ones."""
    x, y, z = vectors.T
    squares: NDArray[np.float64] = x * x  # in this order, as numbers that were computed before had them
    squares += z * z
    squares += y * y
    return squares


def _order(first: NDArray[np.int64], second: NDArray[np.int64], shifts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order of edges by one end, then the other, then shift, (E,).

    One number for each edge sorts several times faster than five; where it would overflow, five it is.
    """
    columns = (first, second, *shifts.T)
    lowest = [int(column.min(initial=0)) for column in columns]
    spans = [int(column.max(initial=0)) - low + 1 for column, low in zip(columns, lowest, strict=True)]
    if math.prod(spans) > np.iinfo(np.int64).max:
        return np.lexsort(columns[::-1])
    key = np.zeros(len(first), np.int64)
    for column, low, span in zip(columns, lowest, spans, strict=True):
        key *= span
        key += column
        key -= low
    return np.argsort(key)  # no two edges are the same, so there are no ties
