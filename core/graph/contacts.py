"""What surrounds the atoms of a structure: how near they come, and how many neighbours they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.graph import Graph
from halocline.graph.joint import JointGraph
from halocline.shares import timed

#: Neighbours of an element of which there is no atom: any number is fewer, or more.
NO_ATOM = (np.iinfo(np.int64).max, -1)

#: Squares of lengths are about the same up to this factor; rounding makes far less of a difference.
_ABOUT: Final = 1.0 + 1e-9


class _MeasuredLater:
    """Base of `Contacts`: distances of a graph that nobody has asked for yet."""

    __slots__ = ("_lengths",)

    def __getattr__(self, name: str) -> Any:
        """Asked for what is not there: distances are measured, and the edges let go."""
        if name == "_lengths":
            return None
        if name not in ("shortest", "pairs") or self._lengths is None:
            raise AttributeError(name)
        surroundings, squares = self._lengths
        (found,) = surroundings.contacts(squares)
        for each in ("shortest", "pairs"):
            object.__setattr__(self, each, getattr(found, each))
        object.__setattr__(self, "_lengths", None)
        return getattr(found, name)


@final
@dataclass(frozen=True, slots=True)
class Contacts(_MeasuredLater):
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
    def of(cls, graph: Graph, owned: int | None = None) -> Contacts:
        """Measure the edges of a graph; nothing is searched.

        Args:
            graph: of a structure, or of the atoms that a rank holds.
            owned: the first so many of those atoms have all their neighbours; only these are counted.
        """
        (contacts,) = Surroundings.of(graph, owned).contacts(graph.squares)
        return contacts

    @classmethod
    def of_lengths(cls, surroundings: Surroundings, squares: NDArray[np.float64]) -> Contacts:
        """Those of one structure, measured when somebody asks for distances; edges are kept until then.

        Args:
            surroundings: of the structure.
            squares: (E,) Å², of the lengths of the edges; nobody may change them.
        """
        contacts = object.__new__(cls)
        object.__setattr__(contacts, "elements", surroundings.elements)
        object.__setattr__(contacts, "fewest", surroundings.fewest[0])
        object.__setattr__(contacts, "most", surroundings.most[0])
        object.__setattr__(contacts, "_lengths", (surroundings, squares))
        return contacts

    @classmethod
    def of_each(cls, joint: JointGraph) -> list[Contacts]:
        """The contacts of each of several structures; atoms go by their numbers within their own structure."""
        return Surroundings.of_each(joint).contacts(joint.graph.squares)

    @classmethod
    def merge(cls, several: Sequence[Contacts]) -> Contacts:
        """The contacts over everything that several describe together; of equal distances, the first counts."""
        elements = np.unique(np.concatenate([each.elements for each in several]))
        size = len(elements)
        shortest, pairs = np.full((size, size), np.inf), np.full((size, size, 2), -1, np.int64)
        fewest, most = (np.full(size, start, np.int64) for start in NO_ATOM)
        for each in several:
            at = np.searchsorted(elements, each.elements)
            square = np.ix_(at, at)
            nearer = each.shortest < shortest[square]
            pairs[square] = np.where(nearer[..., None], each.pairs, pairs[square])
            shortest[square] = np.minimum(shortest[square], each.shortest)
            fewest[at] = np.minimum(fewest[at], each.fewest)
            most[at] = np.maximum(most[at], each.most)
        return cls(elements, shortest, pairs, fewest, most)

    def are_beyond(self, shortest: NDArray[np.float64]) -> bool:
        """Whether no atoms of two elements are nearer than (S, S) Å; where none are, nothing is measured."""
        if self._lengths is not None:
            surroundings, squares = self._lengths
            if surroundings.are_clearly_beyond(shortest, squares):
                return True
        return bool((self.shortest >= shortest).all())

    def measured(self) -> Contacts:
        """The same object without edges: for those who keep it for long."""
        _ = self.shortest
        return self

    def renumbered(self, atoms: NDArray[np.int64]) -> Contacts:
        """The same contacts, whose atoms go by the numbers (n,) that they have elsewhere."""
        pairs = np.sort(np.where(self.pairs < 0, -1, atoms[self.pairs]), axis=-1)
        return replace(self, pairs=pairs)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Kinds:
    """Which element of which structure each of n atoms is: all that stays while the atoms do.

    Attributes:
        elements: (K,) int64, atomic numbers of them all, ascending.
        of_atoms: (n,) unsigned, the structure and the element of each atom, as one number.
        there: S times (K,) bool, which elements each structure has.
        order: atoms whose neighbours are counted, kind by kind.
        counted: kinds that they are of, ascending.
        begins: where each of these begins in the order.
    """

    elements: NDArray[np.int64]
    of_atoms: NDArray[np.unsignedinteger]
    there: Sequence[NDArray[np.bool_]]
    order: NDArray[np.int64]
    counted: NDArray[np.unsignedinteger]
    begins: NDArray[np.int64]

    @classmethod
    def of(cls, numbers: NDArray[np.int64], structures: NDArray[np.int64], count: int, owned: int) -> _Kinds:
        """Of atoms (n,) by their atomic numbers and structures.

        Args:
            numbers: (n,).
            structures: (n,), from 0 to S - 1.
            count: S.
            owned: the neighbours of the first so many atoms are counted.
        """
        elements = np.flatnonzero(np.bincount(numbers))  # faster than `unique`, which sorts
        size = len(elements)
        whole = np.min_scalar_type(count * size**2)  # codes are as short as they may be: as many as edges
        kinds: NDArray[Any] = (structures * size + np.searchsorted(elements, numbers)).astype(whole)
        there = np.zeros(count * size, np.bool_)
        there[kinds] = True
        order = np.argsort(kinds[:owned], kind="stable")
        counted, begins = np.unique(kinds[order], return_index=True)
        return cls(elements, kinds, np.split(there, count), order, counted, begins)

    def extremes(self, counts: NDArray[np.int64]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """The least and the largest of counts (owned,) by element, S times (K,) each; see `NO_ATOM`."""
        size, found = len(self.there) * len(self.elements), []
        by_kind = counts.take(self.order)
        for start, extreme in zip(NO_ATOM, (np.minimum, np.maximum), strict=True):
            whole = np.full(size, start, np.int64)
            if len(by_kind):
                whole[self.counted] = extreme.reduceat(by_kind, self.begins)
            found.append([whole] if len(self.there) == 1 else np.split(whole, len(self.there)))
        return found[0], found[1]


@final
class Surroundings:
    """What contacts follow from beside lengths: it stays as it is while edges and elements do.

    Args:
        receivers: (E,) int64, of the edges of S structures whose atoms follow each other.
        senders: (E,) int64, likewise.
        starts: (S,) int64, the first atom of each structure, from which `Contacts.pairs` count.
        kinds: of these atoms.

    Attributes:
        elements: (K,) int64, atomic numbers of them all, ascending.
        fewest: S times (K,) int64, see `Contacts`.
        most: S times (K,) int64, likewise.
    """

    def __init__(
        self,
        receivers: NDArray[np.int64],
        senders: NDArray[np.int64],
        starts: NDArray[np.int64],
        kinds: _Kinds,
    ) -> None:
        self.elements = kinds.elements
        rows = np.searchsorted(receivers, np.arange(len(kinds.order) + 1))
        self.fewest, self.most = kinds.extremes(np.diff(rows))
        self._receivers, self._senders, self._starts, self._kinds = receivers, senders, starts, kinds
        self._limits: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._asked = False

    @classmethod
    @timed("result")
    def of(cls, graph: Graph, owned: int | None = None) -> Surroundings:
        """The surroundings of one structure; arguments as for `Contacts.of`."""
        atoms = len(graph.structure)
        kinds = _Kinds.of(graph.structure.numbers, np.zeros(atoms, np.int64), 1, atoms if owned is None else owned)
        return cls(graph.edges.receivers, graph.edges.senders, np.zeros(1, np.int64), kinds)

    @timed("result")
    def of_other_edges(self, receivers: NDArray[np.int64], senders: NDArray[np.int64]) -> Surroundings:
        """The surroundings of the same structure with other edges, sooner than by `of`; (E,) each."""
        return Surroundings(receivers, senders, self._starts, self._kinds)

    @classmethod
    @timed("result")
    def of_each(cls, joint: JointGraph) -> Surroundings:
        """The surroundings of several structures, one by one."""
        numbers = joint.graph.structure.numbers
        kinds = _Kinds.of(numbers, joint.of_atoms, len(joint), len(numbers))
        return cls(joint.graph.edges.receivers, joint.graph.edges.senders, joint.atoms[:-1], kinds)

    @timed("result")
    def contacts(self, squares: NDArray[np.float64]) -> list[Contacts]:
        """The contacts of each structure.

        Args:
            squares: (E,) Å², of the lengths of the edges.
        """
        count, size, codes = len(self._starts), len(self.elements), self._codes()
        nearest = np.full(count * size**2, np.inf)
        np.minimum.at(nearest, codes, squares)
        # Reversed: of equals, the first is written last.
        found = np.flatnonzero(squares == nearest.take(codes))[::-1]
        codes, starts = codes.take(found), self._starts
        receivers, senders = self._receivers.take(found), self._senders.take(found)
        first = starts.take(codes // size**2) if count > 1 else starts
        pairs = np.full((count * size**2, 2), -1, np.int64)
        pairs[codes, 0], pairs[codes, 1] = (
            np.minimum(receivers, senders) - first,
            np.maximum(receivers, senders) - first,
        )
        shortest, pairs = _symmetric(
            np.sqrt(nearest).reshape(count, size, size), pairs.reshape(count, size, size, 2)
        )
        columns = zip(self._kinds.there, shortest, pairs, self.fewest, self.most, strict=True)
        return [_reduced(self.elements, *each) for each in columns]

    def are_clearly_beyond(self, shortest: NDArray[np.float64], squares: NDArray[np.float64]) -> bool:
        """Whether no edge of one structure is nearer than (K, K) Å by its elements, nor about as long."""
        if self._limits is not None and self._limits[0] is shortest:
            return not np.count_nonzero(squares < self._limits[1])
        limits = shortest**2 * _ABOUT
        if self._asked:  # steps of small systems ask for the same edges again and again
            self._limits = shortest, limits.take(self._codes())
        self._asked = True
        near = np.flatnonzero(squares < limits.max())
        return not np.count_nonzero(squares.take(near) < limits.take(self._codes(near)))

    def _codes(self, places: NDArray[np.int64] | None = None) -> NDArray[np.unsignedinteger]:
        """The structure of each edge, or of those at some places, and its two elements, as one number, (E,)."""
        receivers, senders = self._receivers, self._senders
        if places is not None:
            receivers, senders = receivers.take(places), senders.take(places)
        kinds = self._kinds.of_atoms
        size = kinds.dtype.type(len(self.elements))
        element = kinds % size if len(self._starts) > 1 else kinds
        codes: NDArray[np.unsignedinteger] = (kinds * size).take(receivers)
        codes += element.take(senders)
        return codes


def _reduced(
    elements: NDArray[np.int64],
    there: NDArray[np.bool_],
    shortest: NDArray[np.float64],
    pairs: NDArray[np.int64],
    fewest: NDArray[np.int64],
    most: NDArray[np.int64],
) -> Contacts:
    """Without the elements that are only in other structures."""
    if there.all():  # the very arrays, by which those of one structure are known again
        return Contacts(elements, shortest, pairs, fewest, most)
    square = np.ix_(there, there)
    return Contacts(elements[there], shortest[square], pairs[square], fewest[there], most[there])


def _symmetric(
    shortest: NDArray[np.float64], pairs: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where a neighbour need not see its receiver, the two directions differ; the shorter one counts for both."""
    turned = shortest.swapaxes(1, 2)
    if (shortest == turned).all():  # most often, and at every step
        return shortest, pairs
    other = shortest > turned
    return np.minimum(shortest, turned), np.where(other[..., None], pairs.swapaxes(1, 2), pairs)
