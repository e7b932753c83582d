"""The neighbour graph that everything downstream works on."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import StructureError
from halocline.graph.compiled import address, plain, steps
from halocline.graph.index_sets import NO_SETS, IndexSets
from halocline.graph.structure import Structure, same_bits

#: Two atoms nearer than this (Å) count as one point, where directions and forces are undefined.
COINCIDENT = 1e-4

#: Edges from which on `Scratch` makes a step faster.
_LARGE = 4096

#: Å². Only where an edge is shorter is its length looked at; far enough from the limit for rounding.
SUSPECT = 2.0 * COINCIDENT**2


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

    def vectors(
        self, structure: Structure, offsets: Offsets | None = None, scratch: Scratch | None = None
    ) -> NDArray[np.float64]:
        """Vectors from receiver to sender, (E, 3) in Å: r_sender - r_receiver + shift · cell.

        Args:
            structure: where the atoms are.
            offsets: of these edges in its cell, if they are known already.
            scratch: for so many edges, whose first array becomes the result.
        """
        # `take` copies rows several times faster than indexing does.
        positions = structure.positions
        if scratch is None:
            vectors = positions.take(self.senders, axis=0)
            vectors -= positions.take(self.receivers, axis=0)
        else:  # with "clip", as NumPy would else take a buffer of its own; all places are there
            vectors = positions.take(self.senders, axis=0, out=scratch.vectors, mode="clip")
            vectors -= positions.take(self.receivers, axis=0, out=scratch.others, mode="clip")
        (Offsets.of(self, structure) if offsets is None else offsets).add_to(vectors)
        return vectors

    def partners(self) -> NDArray[np.int64]:
        """The opposite of each edge, (E,): same two atoms, senders and receivers exchanged, shift reversed.

        Holds for symmetric lists in canonical order: the reversed edges, once sorted, are the list itself.
        """
        functions = steps.of_pass(len(self))
        if functions is not None and len(self):
            return _opposites(functions, self)
        partners = np.empty(len(self), np.int64)
        partners[_order(self.senders, self.receivers, -self.shifts)] = np.arange(len(self))
        return partners


@final
@dataclass(frozen=True, slots=True)
class Offsets:
    """What the cell adds to the vectors of E edges: shift · cell.

    One product at a time, not a matrix product: BLAS rounds a row differently depending on where it stands, and
    opposite edges must stay exactly opposite. They are added one at a time, too, where a component has several.

    Attributes:
        cell: (3, 3) Å, of which they are; rows of open directions count for nothing.
        pbc: (3,) bool, likewise.
        whole: (E, 3) Å, if every component has just one product.
        terms: else components, and for each (E,) Å.
    """

    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    whole: NDArray[np.float64] | None
    terms: tuple[tuple[int, NDArray[np.float64]], ...]

    @classmethod
    def of(cls, edges: Edges, structure: Structure) -> Offsets:
        """Multiply the shifts of edges with the periodic vectors of a structure; others have no shifts."""
        cell, pbc = structure.cell, structure.pbc
        places = [(axis, component) for axis in np.flatnonzero(pbc) for component in np.flatnonzero(cell[axis])]
        if sorted(component for _, component in places) == [0, 1, 2]:
            whole = np.empty((len(edges), 3))
            for axis, component in places:
                np.multiply(edges.shifts[:, axis], cell[axis, component], out=whole[:, component])
            return cls(cell.copy(), pbc.copy(), whole, ())
        shifts = {axis: edges.shifts[:, axis].astype(np.float64) for axis, _ in places}
        terms = tuple((int(component), shifts[axis] * cell[axis, component]) for axis, component in places)
        return cls(cell.copy(), pbc.copy(), None, terms)

    def are_of(self, structure: Structure) -> bool:
        """Whether they are those in the cell of a structure."""
        return same_bits(self.cell, structure.cell) and same_bits(self.pbc, structure.pbc)

    def add_to(self, vectors: NDArray[np.float64]) -> None:
        """Add them to (E, 3), in place."""
        if self.whole is not None:
            vectors += self.whole
        for component, term in self.terms:
            vectors[:, component] += term


@final
@dataclass(frozen=True, slots=True)
class Scratch:
    """Arrays for what is computed of E edges at every step and not kept.

    Large arrays that are made anew cost more than what is computed in them: the system gives their memory page by
    page, and takes it back when they go.

    Attributes:
        vectors: (E, 3).
        others: (E, 3).
        squares: (E,).
    """

    vectors: NDArray[np.float64]
    others: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, edges: int) -> Scratch | None:
        """For so many edges; None where that makes nothing faster."""
        if edges < _LARGE:
            return None
        return cls(np.empty((edges, 3)), np.empty((edges, 3)), np.empty(edges))


def squared_lengths(vectors: NDArray[np.float64], scratch: Scratch | None = None) -> NDArray[np.float64]:
    """Squares (E,) of the lengths of vectors (E, 3), the same for opposite ones.

    Args:
        vectors: Å.
        scratch: for so many edges, of which all but the vectors is written to.
    """
    x, y, z = vectors.T
    if scratch is None:
        squares: NDArray[np.float64] = x * x  # in this order, as numbers that were computed before had them
        squares += z * z
        squares += y * y
        return squares
    more = scratch.others.reshape(-1)[: len(x)]
    np.multiply(x, x, out=scratch.squares)
    for component in (z, y):
        np.multiply(component, component, out=more)
        np.add(scratch.squares, more, out=scratch.squares)
    return scratch.squares


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


def _opposites(functions: ctypes.CDLL, edges: Edges) -> NDArray[np.int64]:
    """What `Edges.partners` gives, in one pass over edges; there are some."""
    ends = [plain(each, np.int64) for each in (edges.receivers, edges.senders)]
    atoms = max(int(end.max()) for end in ends) + 1
    unread, partners = np.empty(atoms, np.int64), np.empty(len(edges), np.int64)
    functions.opposites(len(edges), atoms, *map(address, (*ends, unread, partners)))
    return partners


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
        if len(vectors) and squares.min() < SUSPECT:
            shortest = int(squares.argmin())
            if np.linalg.norm(vectors[shortest]) < COINCIDENT:
                pair = np.array((edges.receivers[shortest], edges.senders[shortest]))
                pair = np.sort(pair if ids is None else ids[pair])
                raise StructureError(
                    f"Atoms {pair[0]} and {pair[1]} sit on one point; remove or move one of them."
                )
        return cls(structure, edges, vectors, squares, partners, sets)

    def moved(self, structure: Structure, vectors: NDArray[np.float64], squares: NDArray[np.float64]) -> Graph:
        """The same edges between atoms elsewhere; arguments are the attributes."""
        return Graph(structure, self.edges, vectors, squares, self.partners, self.sets)
