"""A neighbour list that follows a moving structure."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import UsageError
from halocline.graph.cover import covers
from halocline.graph.cut import Kept, Selection, cut_at, cut_candidates, select
from halocline.graph.graph import Edges, Graph
from halocline.graph.radius import radius_edges
from halocline.graph.rules import Nearest, NeighbourRule, Radius, reach, single_rules
from halocline.graph.structure import Structure
from halocline.shares import timed

#: Candidates are kept up to this far beyond the cutoff (Å). Water at 300 K then rebuilds about every 20 fs.
DEFAULT_SKIN = 0.5

#: First search radius in Å, and the factor by which it grows for those who have too few neighbours yet.
FIRST_RADIUS, GROWTH = 3.0, 1.5


class LatestCut(NamedTuple):
    """How the edges of the latest graph were found, by a rule that asks for nothing but a radius.

    Attributes:
        search: that found the candidates.
        kept: which of them are edges.
        cutoff: Å, of the rule.
        room: Å, by how much the distance of two atoms may have become less since the search, in the same cell.
    """

    search: Search
    kept: Kept
    cutoff: float
    room: float


class Search(NamedTuple):
    """The outcome of a search. It is handed on as one, so neither an interrupt nor another thread can mix two.

    Attributes:
        structure: a copy of that which was searched.
        candidates: all pairs that can be neighbours until the next search.
        partners: the opposite of each candidate, (E,) int64; None where the rule is not symmetric.
    """

    structure: Structure
    candidates: Edges
    partners: NDArray[np.int64] | None


@final
class NeighbourList:
    """Graphs of one structure after another, searching anew only when an edge could have been missed.

    Candidates within ``cutoff + skin`` are kept. Each call cuts them at the cutoff exactly, and ranks them where
    a rule asks for the nearest ones, so the graph is the same, to the bit and in order, whether or not the search
    was repeated.

    Args:
        rule: which neighbours the model asks for. Nearest neighbours without a cutoff are searched at every call:
            there is no distance within which they must lie.
        skin: Å, at least zero.
    """

    def __init__(self, rule: NeighbourRule, skin: float = DEFAULT_SKIN) -> None:
        if not skin >= 0.0:
            raise UsageError(f"The skin of a neighbour list must be a length of at least 0 Å, not {skin!r}.")
        self.rule = rule
        self.skin = skin
        self.searches = 0
        self._latest: Search | None = None
        self._kept: Kept | None = None
        self._selection: Selection | None = None

    def graph(self, structure: Structure) -> Graph:
        """Return the structure's graph; the list remembers nothing that changes a later result.

        Raises:
            StructureError: coincident atoms, or an absurdly small cell.
        """
        return self.cut(self.search(structure), structure)

    def cut(self, search: Search, structure: Structure) -> Graph:
        """Return the graph of a structure that a search covers.

        Where the edges are those of the last graph, they are the same objects.

        Raises:
            StructureError: coincident atoms.
        """
        if isinstance(self.rule, Radius):
            cutoff, candidates, partners = self.rule.cutoff, search.candidates, search.partners
            graph, self._kept = cut_at(cutoff, candidates, partners, structure, kept=self._kept)
            return graph
        if search.partners is None:
            return cut_candidates(self.rule, search.candidates, None, structure)
        graph, self._selection = select(
            self.rule, search.candidates, search.partners, structure, last=self._selection
        )
        return graph

    def refresh(self, structure: Structure) -> bool:
        """Search anew if an edge could have been missed, and say whether candidates have changed.

        Raises:
            StructureError: an absurdly small cell.
        """
        before = self.searches
        self.search(structure)
        return self.searches != before

    def search(self, structure: Structure) -> Search:
        """The latest search if it covers the structure; else a new one.

        Raises:
            StructureError: an absurdly small cell.
        """
        latest = self._latest
        if latest is not None and covers(latest.structure, structure, reach(self.rule), self.skin):
            return latest
        # Of a million atoms the list is most of what a process holds: two of them at a time might be too much.
        del latest
        self._latest = self._kept = self._selection = None
        found = self._search(structure)
        self._latest = found
        self.searches += 1
        return found

    @property
    def latest_cut(self) -> LatestCut | None:
        """See there; None before the first, and for other rules."""
        search, kept, rule = self._latest, self._kept, self.rule
        if (
            search is None
            or kept is None
            or not isinstance(rule, Radius)
            or kept.candidates is not search.candidates
        ):
            return None
        return LatestCut(search, kept, rule.cutoff, (rule.cutoff + self.skin) - rule.cutoff)

    @property
    def candidates(self) -> Edges:
        """All pairs that can be neighbours until the next search."""
        assert self._latest is not None, "refresh the list first"
        return self._latest.candidates

    @property
    def partners(self) -> NDArray[np.int64] | None:
        """The opposite of each candidate, (E,) int64; None where the rule is not symmetric."""
        return None if self._latest is None else self._latest.partners

    @timed("search")
    def _search(self, structure: Structure) -> Search:
        # A copy, as whoever owns the arrays may move atoms in place.
        own = structure.copy()
        return Search(own, *search(self.rule, own, self.skin))


def search(rule: NeighbourRule, structure: Structure, skin: float = 0.0) -> tuple[Edges, NDArray[np.int64] | None]:
    """Search a structure.

    Args:
        rule: of the model.
        structure: as it is now.
        skin: Å, by which candidates may be longer than the cutoff. Nearest neighbours without a cutoff are those
            of this very structure.

    Returns:
        Edges, and the opposite of each, (E,) int64; None where the list is not symmetric.

    Raises:
        StructureError: as for `radius_edges`.
    """
    if isinstance(rule, Nearest) and rule.is_plain:
        return nearest_edges(structure, rule.count), None
    rules = single_rules(rule)
    counts = [each.count for each in rules if isinstance(each, Nearest) and each.cutoff == math.inf]
    cutoff = max((each.cutoff for each in rules if each.cutoff < math.inf), default=0.0)
    found = [radius_edges(structure, cutoff + skin)] if cutoff else []
    if counts:
        nearest = nearest_edges(structure, max(counts))
        found += [nearest, nearest.opposite()]
    candidates = found[0] if len(found) == 1 else Edges.joined(found).sorted().different()
    return candidates, candidates.partners()


def nearest_edges(structure: Structure, count: int) -> Edges:
    """Find the ``count`` nearest senders of each receiver; ties go to the lower sender, then shift.

    A finite structure of fewer than ``count`` + 1 atoms is fully connected.

    Raises:
        StructureError: as for `radius_edges`.
    """
    wanted = count if structure.pbc.any() else min(count, len(structure) - 1)
    radius, waiting = FIRST_RADIUS, np.arange(len(structure))
    found = []
    while len(waiting):
        edges = radius_edges(structure, radius, waiting)
        enough = np.bincount(edges.receivers, minlength=len(structure)) >= wanted
        found.append(_nearest(structure, edges[enough[edges.receivers]], wanted))
        waiting = waiting[~enough[waiting]]
        # Only these look farther: one atom far from a crowd must not make everybody in it see everybody else.
        radius *= GROWTH
    return Edges.joined(found).sorted()


def _nearest(structure: Structure, edges: Edges, count: int) -> Edges:
    """Keep the ``count`` shortest edges of each receiver."""
    distances = np.linalg.norm(edges.vectors(structure), axis=1)
    # A stable sort by distance keeps the canonical order among equals.
    by_distance = np.lexsort((distances, edges.receivers))
    _, starts, degrees = np.unique(edges.receivers, return_index=True, return_counts=True)
    rank = np.arange(len(edges)) - np.repeat(starts, degrees)
    return edges[by_distance[rank < count]]
