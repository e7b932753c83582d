"""From candidate edges to exactly those that a rule asks for."""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.graph import Edges, Graph, squared_lengths
from halocline.graph.index_sets import IndexSets
from halocline.graph.measure import Measure, taken
from halocline.graph.rules import Nearest, NeighbourRule, Radius, narrower, single_rules
from halocline.graph.structure import Structure, same_bits
from halocline.shares import timed


@final
class Kept(NamedTuple):
    """Which candidates a cut has kept. Small systems keep the same ones for many steps.

    Attributes:
        candidates: those that were cut.
        measure: of them, in the cell of that cut.
        inside: (C,) bool, whether each was kept.
        edges: those that were.
        partners: the opposite of each, (E,) int64, or None.
    """

    candidates: Edges
    measure: Measure
    inside: NDArray[np.bool_]
    edges: Edges
    partners: NDArray[np.int64] | None


def cut_candidates(
    rule: NeighbourRule,
    candidates: Edges,
    partners: NDArray[np.int64] | None,
    structure: Structure,
    ids: NDArray[np.int64] | None = None,
    decided: int | None = None,
) -> Graph:
    """Keep the candidates that are neighbours where the atoms are now.

    Args:
        rule: of the model. Candidates that have no opposite are neighbours already: nearest ones without a cutoff.
        candidates: a superset of the edges.
        partners: the opposite of each candidate, or None.
        structure: the atoms that the candidates connect.
        ids: (N,), by which messages name the atoms; their places by default.
        decided: as for `select`; where length alone decides, all edges are.

    Raises:
        StructureError: two atoms sit on one point.
    """
    if isinstance(rule, Radius):
        return cut_at(rule.cutoff, candidates, partners, structure, ids)[0]
    if partners is None:
        return Graph.build(structure, candidates, None, ids)
    return select(rule, candidates, partners, structure, ids=ids, decided=decided)[0]


@timed("cut")
def cut_at(
    cutoff: float,
    candidates: Edges,
    partners: NDArray[np.int64] | None,
    structure: Structure,
    ids: NDArray[np.int64] | None = None,
    kept: Kept | None = None,
) -> tuple[Graph, Kept]:
    """Keep the candidates that are nearer than a cutoff.

    Args:
        cutoff: Å.
        candidates: as for `cut_candidates`, like the following.
        partners: likewise.
        structure: likewise.
        ids: likewise.
        kept: by the last cut. If it has kept the same of the same candidates, the graph has its very objects, by
            which whoever prepares something for them knows them again.

    Raises:
        StructureError: two atoms sit on one point.
    """
    if kept is not None and kept.measure.is_of(candidates, structure):
        measure = kept.measure
    else:
        measure = Measure(candidates, structure)
    inside, vectors, squares = measure.nearer(structure, cutoff)
    if kept is None or kept.candidates is not candidates or not same_bits(kept.inside, inside):
        kept = Kept(candidates, measure, inside, *taken(candidates, partners, inside))
    elif kept.measure is not measure:
        kept = kept._replace(measure=measure)
    return Graph.build(structure, kept.edges, kept.partners, ids, vectors, squares), kept


@final
class Selection(NamedTuple):
    """Which candidates each rule keeps. Small systems keep the same ones for many steps.

    Attributes:
        candidates: those that were cut.
        kept: (1 + R, C) bool, by the graph and by each of its R narrower rules.
        places: (E,) int64, of those that the graph keeps.
        edges: they themselves.
        partners: (E,) int64, the opposite of each.
        sets: of the narrower rules.
    """

    candidates: Edges
    kept: NDArray[np.bool_]
    places: NDArray[np.int64]
    edges: Edges
    partners: NDArray[np.int64]
    sets: IndexSets


@timed("cut")
def select(
    rule: NeighbourRule,
    candidates: Edges,
    partners: NDArray[np.int64],
    structure: Structure,
    *,
    ids: NDArray[np.int64] | None = None,
    decided: int | None = None,
    last: Selection | None = None,
) -> tuple[Graph, Selection]:
    """Keep the candidates that some rule asks for, and the opposite of each.

    Args:
        rule: of the model.
        candidates: a superset of the edges, sorted by receiver, each with its opposite.
        partners: (C,) int64, the opposite of each candidate; itself where that is not here, as at the rim of a
            domain.
        structure: the atoms that the candidates connect.
        ids: by which messages name the atoms; their places by default.
        decided: the first so many atoms have all their candidates, and so have their neighbours. The edges of
            others are left out. All by default.
        last: selection. If the same of the same candidates are kept, the graph has its very objects.

    Raises:
        StructureError: two atoms sit on one point.
    """
    vectors = candidates.vectors(structure)
    squares = squared_lengths(vectors)
    kept = _kept(rule, candidates.receivers, partners, vectors, squares)
    if decided is not None:
        kept &= candidates.receivers < decided
    if last is None or last.candidates is not candidates or not same_bits(last.kept, kept):
        last = _selection(rule, candidates, partners, kept)
    vectors, squares = vectors.take(last.places, axis=0), squares.take(last.places)
    return Graph.build(structure, last.edges, last.partners, ids, vectors, squares, last.sets), last


def selected(rule: NeighbourRule, graph: Graph) -> Graph:
    """The graph that a rule keeps of candidates, each with its opposite; coincident atoms are let through."""
    partners = graph.edges.partners() if graph.partners is None else graph.partners
    kept = _kept(rule, graph.edges.receivers, partners, graph.vectors, graph.squares)
    _, _, places, edges, partners, sets = _selection(rule, graph.edges, partners, kept)
    vectors, squares = graph.vectors.take(places, axis=0), graph.squares.take(places)
    return Graph(graph.structure, edges, vectors, squares, partners, sets)


def _selection(
    rule: NeighbourRule, candidates: Edges, partners: NDArray[np.int64], kept: NDArray[np.bool_]
) -> Selection:
    places = np.flatnonzero(kept[0])
    opposite = partners.take(places)
    # At the rim of a domain, the opposite edge is missing: the edge stands for the pair by itself.
    opposite = np.where(kept[0].take(opposite), opposite, places)
    numbers = np.cumsum(kept[0]) - 1
    sets = IndexSets(rule, tuple(np.flatnonzero(mask.take(places)) for mask in kept[1:]))
    return Selection(candidates, kept, places, candidates.take(places), numbers.take(opposite), sets)


def _kept(
    rule: NeighbourRule,
    receivers: NDArray[np.int64],
    partners: NDArray[np.int64],
    vectors: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether the graph and each narrower rule keep each candidate, (1 + R, C)."""
    rules = single_rules(rule)
    ranks = _ranks(receivers, vectors) if any(isinstance(each, Nearest) for each in rules) else None
    by_rule = {each: _kept_by(each, ranks, partners, squares) for each in rules}
    by_any = np.logical_or.reduce(list(by_rule.values()))
    return np.stack([by_any | by_any.take(partners), *(by_rule[each] for each in narrower(rule))])


def _kept_by(
    rule: Radius | Nearest,
    ranks: NDArray[np.int64] | None,
    partners: NDArray[np.int64],
    squares: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether a rule keeps each candidate, (C,)."""
    within = squares < rule.cutoff**2
    if isinstance(rule, Radius):
        return within
    assert ranks is not None
    receiver = within & (ranks < rule.count)
    if rule.kept_by == "receiver":
        return receiver
    # Opposite edges are equally long, so what is within the cutoff is within for both.
    sender = receiver.take(partners)
    if rule.kept_by == "sender":
        return sender
    return receiver | sender if rule.kept_by == "either" else receiver & sender


def _ranks(receivers: NDArray[np.int64], vectors: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many edges of its receiver come before each edge: shorter ones, or of equals earlier ones, (C,)."""
    ranks = np.empty(len(receivers), np.int64)
    # A stable sort by distance keeps the canonical order among equals.
    order = np.lexsort((np.linalg.norm(vectors, axis=1), receivers))
    starts = np.searchsorted(receivers, receivers)
    ranks[order] = np.arange(len(receivers)) - starts
    return ranks
