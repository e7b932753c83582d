"""How large halos are to be expected, from geometry alone."""

from __future__ import annotations

import numpy as np

from halocline.graph import Graph
from halocline.partition.geometry import hop_length


def expected_levels(graph: Graph, hops: int, parts: int) -> tuple[list[float], list[float]]:
    """Edges and atoms within each hop level of one of so many equal parts.

    Parts are taken for cubes in a medium of one density, that of the neighbourhoods: vacuum does not count.

    Returns:
        Edges by receivers on levels 0 to H - 1, and atoms on levels 0 to H.
    """
    atoms, edges = len(graph.structure), len(graph.edges)
    if not edges:
        return [0.0] * hops, [atoms / parts] * (hops + 1)
    reach = _reach(graph)
    density = edges / atoms / (4 / 3 * np.pi * reach**3)
    step = hop_length(density, reach)
    edge = (atoms / parts / density) ** (1 / 3)
    growth = [min(float(parts), _grown(edge, hop * step) / edge**3) for hop in range(hops + 1)]
    return [edges / parts * g for g in growth[:-1]], [atoms / parts * g for g in growth]


def _reach(graph: Graph) -> float:
    """The radius of a ball of uniform density with the same mean square distance as neighbours have, Å."""
    squares = np.einsum("ij,ij->", graph.vectors, graph.vectors) / len(graph.vectors)
    return float(np.sqrt(5 / 3 * squares))


def _grown(edge: float, depth: float) -> float:
    """Volume of all points within a depth of a cube."""
    return edge**3 + 6 * depth * edge**2 + 3 * np.pi * depth**2 * edge + 4 / 3 * np.pi * depth**3
