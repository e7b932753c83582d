"""From candidate edges to exactly those that a rule asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halocline.graph.edges import Edges
from halocline.graph.graph import Graph
from halocline.graph.rules import NeighbourRule, Radius
from halocline.graph.structure import Structure
from halocline.shares import timed


@timed("cut")
def cut_candidates(
    rule: NeighbourRule,
    candidates: Edges,
    partners: NDArray[np.int64] | None,
    structure: Structure,
    ids: NDArray[np.int64] | None = None,
) -> Graph:
    """Keep the candidates that are neighbours where the atoms are now.

    Args:
        rule: of the model. Candidates of nearest neighbours are those neighbours already.
        candidates: a superset of the edges.
        partners: the opposite of each candidate, or None.
        structure: the atoms that the candidates connect.
        ids: (N,), by which messages name the atoms; their places by default.

    Raises:
        StructureError: two atoms sit on one point.
    """
    if not isinstance(rule, Radius):
        return Graph.build(structure, candidates, partners, ids)
    vectors = candidates.vectors(structure)
    inside = np.einsum("ij,ij->i", vectors, vectors) < rule.cutoff**2
    if partners is not None:
        # Opposite edges are equally long to the bit, so they are kept or left out together.
        partners = (np.cumsum(inside) - 1)[partners[inside]]
    return Graph.build(structure, candidates[inside], partners, ids, vectors[inside])
