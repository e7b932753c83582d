"""The k nearest neighbours of every atom, periodic images included."""

from __future__ import annotations

import numpy as np

from halocline.graph.edges import Edges
from halocline.graph.radius import radius_edges
from halocline.graph.structure import Structure

#: First search radius in Å, and the factor by which it grows until everybody has enough neighbours.
FIRST_RADIUS, GROWTH = 3.0, 1.5


def nearest_edges(structure: Structure, count: int) -> Edges:
    """Find the ``count`` nearest senders of each receiver; ties go to the lower sender, then shift.

    A finite structure of fewer than ``count`` + 1 atoms is fully connected.
    """
    radius = FIRST_RADIUS
    finite = not structure.pbc.any()
    wanted = min(count, len(structure) - 1) if finite else count
    while True:
        edges = radius_edges(structure, radius)
        found = np.bincount(edges.receivers, minlength=len(structure))
        if (found >= wanted).all():
            break
        radius *= GROWTH
    distances = np.linalg.norm(edges.vectors(structure), axis=1)
    # A stable sort by distance keeps the canonical order among equals.
    by_distance = np.lexsort((distances, edges.receivers))
    starts = np.concatenate(([0], np.cumsum(found)))[:-1]
    rank = np.arange(len(edges)) - np.repeat(starts, found)
    return edges[by_distance[rank < wanted]].sorted()
