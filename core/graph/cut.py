"""From candidate edges to exactly those that a rule asks for."""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.edges import Edges, squared_lengths
from halocline.graph.graph import Graph
from halocline.graph.rules import NeighbourRule, Radius
from halocline.graph.selection import select
from halocline.graph.structure import Structure, same_bits
from halocline.shares import timed


@final
class Kept(NamedTuple):
    """Which candidates a cut has kept. Small systems keep the same ones for many steps.

    Attributes:
        candidates: those that were cut.
        inside: (C,) bool, whether each was kept.
        places: (E,) int64, of those that were.
        edges: they themselves.
        partners: the opposite of each, (E,) int64, or None.
    """

    candidates: Edges
    inside: NDArray[np.bool_]
    places: NDArray[np.int64]
    edges: Edges
    partners: NDArray[np.int64] | None

    @classmethod
    def of(cls, candidates: Edges, partners: NDArray[np.int64] | None, inside: NDArray[np.bool_]) -> Kept:
        """Keep those candidates that are inside."""
        places = np.flatnonzero(inside)
        if partners is not None:
            # Opposite edges are equally long to the bit, so they are kept or left out together.
            partners = (np.cumsum(inside) - 1).take(partners.take(places))
        return cls(candidates, inside, places, candidates.take(places), partners)


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
    vectors = candidates.vectors(structure)
    squares = squared_lengths(vectors)
    inside = squares < cutoff**2
    if kept is None or kept.candidates is not candidates or not same_bits(kept.inside, inside):
        kept = Kept.of(candidates, partners, inside)
    vectors, squares = vectors.take(kept.places, axis=0), squares.take(kept.places)
    return Graph.build(structure, kept.edges, kept.partners, ids, vectors, squares), kept
