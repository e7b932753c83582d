"""Candidates measured where the atoms are: which of them are edges, and the vectors of those."""

from __future__ import annotations

import ctypes
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.compiled import Candidates, address, plain, steps
from halocline.graph.graph import Edges, Offsets, Scratch, squared_lengths
from halocline.graph.structure import Structure


class Measured(NamedTuple):
    """What was found of C candidates, of which E are edges.

    Attributes:
        inside: (C,) bool, which are edges.
        vectors: (E, 3) Å.
        squares: (E,) Å², of their lengths.
    """

    inside: NDArray[np.bool_]
    vectors: NDArray[np.float64]
    squares: NDArray[np.float64]


@final
class Measure:
    """Measures the same C candidates at one step after another, by compiled code where there is, to the same bits.

    Args:
        candidates: sorted.
        structure: whose cell counts.
    """

    def __init__(self, candidates: Edges, structure: Structure) -> None:
        self._candidates, self._offsets = candidates, Offsets.of(candidates, structure)
        self._scratch: Scratch | None = None  # large, and of no use to compiled code
        self._given: Given | None = None

    def is_of(self, candidates: Edges, structure: Structure) -> bool:
        """Whether these are the candidates, and this is the cell."""
        return self._candidates is candidates and self._offsets.are_of(structure)

    def nearer(self, structure: Structure, cutoff: float) -> Measured:
        """Those that are nearer than a cutoff in Å."""
        functions = steps.of_pass(len(self._candidates))
        if functions is not None:
            self._scratch = None
            return self._by_compiled_code(functions, structure.positions, cutoff**2)
        self._scratch = self._scratch or Scratch.of(len(self._candidates))
        vectors = self._candidates.vectors(structure, self._offsets, self._scratch)
        squares = squared_lengths(vectors, self._scratch)
        inside = squares < cutoff**2
        if np.count_nonzero(inside) < len(inside):
            places = np.flatnonzero(inside)
            return Measured(inside, vectors.take(places, axis=0), squares.take(places))
        if self._scratch is not None:
            vectors, squares = vectors.copy(), squares.copy()
        return Measured(inside, vectors, squares)

    def for_compiled_code(self) -> Given:
        """The candidates and their cell, for compiled code."""
        given = self._given = self._given or Given.of(self._candidates, self._offsets)
        return given

    def _by_compiled_code(
        self, functions: ctypes.CDLL, positions: NDArray[np.float64], square_of_cutoff: float
    ) -> Measured:
        given = self.for_compiled_code()
        positions, inside = plain(positions, np.float64), np.empty(len(self._candidates), np.bool_)
        squares_at = 3 * (len(inside) + 1)
        room = np.empty(squares_at + len(inside) + 1)  # in one piece, which takes the system less time
        start = address(room)
        edges = functions.cut(
            len(inside),
            given.address,
            address(positions),
            square_of_cutoff,
            address(inside),
            start,
            start + squares_at * room.itemsize,
        )
        return Measured(inside, room[: 3 * edges].reshape(-1, 3), room[squares_at : squares_at + edges])


class Given(NamedTuple):
    """What compiled code is given of candidates and cell.

    Attributes:
        candidates: for C++.
        address: of that.
        kept: what it points to.
    """

    candidates: Candidates
    address: int
    kept: tuple[object, ...]

    @classmethod
    def of(cls, candidates: Edges, offsets: Offsets) -> Given:
        """Arrays are kept as long as the object is."""
        ends = [plain(each, np.int64) for each in (candidates.receivers, candidates.senders)]
        terms = [plain(term, np.float64) for _, term in offsets.terms]
        components = (ctypes.c_int64 * len(terms))(*(component for component, _ in offsets.terms))
        places = (ctypes.c_void_p * len(terms))(*map(address, terms))
        whole = None if offsets.whole is None else address(offsets.whole)
        there = ctypes.addressof(components), ctypes.addressof(places)
        given = Candidates(*map(address, ends), whole, len(terms), *there)
        return cls(given, ctypes.addressof(given), (ends, terms, components, places, offsets))


def taken(
    candidates: Edges, partners: NDArray[np.int64] | None, inside: NDArray[np.bool_]
) -> tuple[Edges, NDArray[np.int64] | None]:
    """Those of C candidates that are edges, and the opposite of each, (E,) int64.

    Args:
        candidates: sorted.
        partners: the opposite of each, (C,) int64, or None.
        inside: (C,) bool. Opposite candidates are equally long to the bit, so they are edges together.
    """
    edges = int(np.count_nonzero(inside))
    if edges == len(inside):
        return candidates, partners
    functions = steps.functions
    if functions is None:
        places = np.flatnonzero(inside)
        if partners is not None:
            partners = (np.cumsum(inside, dtype=np.int64) - 1).take(partners.take(places))
        return candidates.take(places), partners
    given = [plain(each, np.int64) for each in (candidates.receivers, candidates.senders, candidates.shifts)]
    before = np.empty(len(inside), np.int64)
    found = Edges(np.empty(edges, np.int64), np.empty(edges, np.int64), np.empty((edges, 3), np.int64))
    all_partners = None if partners is None else plain(partners, np.int64)
    opposite = None if partners is None else np.empty(edges, np.int64)
    functions.keep(
        len(inside),
        address(inside),
        *map(address, given),
        None if all_partners is None else address(all_partners),
        *map(address, (before, found.receivers, found.senders, found.shifts)),
        None if opposite is None else address(opposite),
    )
    return found, opposite
