"""The k nearest neighbours of every atom, periodic images included."""

from __future__ import annotations

import numpy as np

from halocline.graph.edges import Edges
from halocline.graph.radius import radius_edges
from halocline.graph.structure import Structure

#: First search radius in Å, and the factor by which it grows for those who have too few neighbours yet.
FIRST_RADIUS, GROWTH = 3.0, 1.5


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
