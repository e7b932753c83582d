"""How large halos are to be expected, from the shape of blocks in a uniform periodic cube.

A block with sides a, b, c has points within x of it in a volume that this module integrates, so that blocks whose
surroundings meet themselves through the periodic cell need no special case. A hop of neighbours reaches less far
than the cutoff, because it has to land on an atom.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import pi, prod, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Graph

#: Midpoints of the intervals that each direction is divided into: volumes are right to a few parts in a thousand.
MIDPOINTS: Final = (np.arange(48) + 0.5) / 48


def growth(atoms: float, density: float, cutoff: float, ranks: int, hops: int) -> list[float]:
    """Atoms within 0, 1, ..., ``hops`` hops of a block, over those in it.

    Args:
        atoms: of the whole cube.
        density: atoms/Å³.
        cutoff: Å.
        ranks: as many blocks, of equal sizes.
        hops: how far.
    """
    edge = (atoms / density) ** (1 / 3)
    return _growth([edge / blocks for blocks in block_grid(ranks)], edge, hop_length(density, cutoff), hops)


def expected_levels(
    graph: Graph, hops: int, parts: int, owned: int | None = None
) -> tuple[list[float], list[float]]:
    """Edges and atoms within each hop level of one of so many equal parts of a real structure.

    Parts are taken for cubes in a medium of one density, that of the neighbourhoods: vacuum does not count.

    Args:
        graph: of the structure, or of what a rank holds of it.
        hops: how far.
        parts: that the first atoms are divided into.
        owned: how many these are; all by default.

    Returns:
        Edges by receivers on levels 0 to H - 1, and atoms on levels 0 to H.
    """
    held = len(graph.structure)
    atoms = held if owned is None else owned
    edges = int(np.searchsorted(graph.edges.receivers, atoms))
    if not edges:
        return [0.0] * hops, [atoms / parts] * (hops + 1)
    cutoff = _mean_cutoff(graph)
    density = _density(edges, atoms, cutoff)
    side, edge = (atoms / parts / density) ** (1 / 3), (held / density) ** (1 / 3)
    ratios = _growth([side] * 3, edge, hop_length(density, cutoff), hops)
    return [edges / parts * ratio for ratio in ratios[:-1]], [atoms / parts * ratio for ratio in ratios]


def density_and_cutoff(graph: Graph) -> tuple[float, float]:
    """Of neighbourhoods in a structure that has some: atoms/Å³, vacuum not counted, and the radius in Å."""
    cutoff = _mean_cutoff(graph)
    return _density(len(graph.edges), len(graph.structure), cutoff), cutoff


def hop_length(density: float, cutoff: float) -> float:
    """How far one hop of neighbours reaches on average, Å, at a density in atoms/Å³ and a cutoff in Å."""
    return max(0.0, cutoff - 1.0 / sqrt(pi * density * cutoff))


def block_grid(ranks: int) -> tuple[int, int, int]:
    """The most compact of the grids of so many blocks whose cuts have the least area."""
    divisors = [number for number in range(1, ranks + 1) if ranks % number == 0]
    grids = [(x, y, ranks // (x * y)) for x in divisors for y in divisors if ranks % (x * y) == 0]
    return min(grids, key=lambda grid: (sum(n for n in grid if n > 1), sum(n * n for n in grid), grid))


def _density(edges: int, atoms: int, cutoff: float) -> float:
    """Of neighbourhoods, atoms/Å³."""
    return edges / atoms / (4.0 / 3.0 * pi * cutoff**3)


def _mean_cutoff(graph: Graph) -> float:
    """The radius of a ball of uniform density with the same mean square distance as neighbours have, Å."""
    squares = np.einsum("ij,ij->", graph.vectors, graph.vectors) / len(graph.vectors)
    return sqrt(5.0 / 3.0 * squares)


def _growth(sides: Sequence[float], edge: float, hop: float, hops: int) -> list[float]:
    """The volume within 0, 1, ..., ``hops`` hops of a block, over its own."""
    return [_surroundings(sides, edge, hop * count) / prod(sides) for count in range(hops + 1)]


def _surroundings(sides: Sequence[float], edge: float, distance: float) -> float:
    """The volume within a distance of a block in a periodic cube.

    A point outside of the block is off it in one, two or three directions, in each by up to half of what the block
    leaves of the cube, on either side.
    """
    volume = 0.0
    for count in range(4):
        for off in combinations(range(3), count):
            within = prod(side for axis, side in enumerate(sides) if axis not in off)
            gaps = [(edge - sides[axis]) / 2.0 for axis in off]
            volume += within * 2.0**count * float(_clipped_ball(np.array(distance**2), gaps))
    return volume


def _clipped_ball(square: NDArray[np.float64], gaps: Sequence[float]) -> NDArray[np.float64]:
    """The volume of points with 0 ≤ x_i ≤ gap_i and Σ x_i² ≤ square, in as many dimensions as there are gaps."""
    if not gaps:
        return np.ones_like(square)
    reach = np.minimum(gaps[0], np.sqrt(square))
    if len(gaps) == 1:
        return reach
    points = reach[..., None] * MIDPOINTS
    beside: NDArray[np.float64] = _clipped_ball(square[..., None] - points**2, gaps[1:]).mean(-1)
    return reach * beside
