"""What one step asks of ranks: counted on real edges, or predicted for a uniform cube."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.cost.profile import Profile
from halocline.graph import Edges
from halocline.partition.geometry import growth
from halocline.partition.part import Cutter


@final
@dataclass(frozen=True, slots=True)
class Load:
    """What a step takes with halos treated in one way. Real numbers, because predictions are averages.

    Attributes:
        ranks: how many.
        atoms: of the structure.
        edges: that the busiest rank evaluates, an edge counting once for each hop of a stage that works on it.
        halo: atoms whose state the busiest link carries in one direction in a round.
        held: atoms that ranks hold, halos included, added up over ranks.
    """

    ranks: int
    atoms: float
    edges: float
    halo: float
    held: float


class Loads(NamedTuple):
    """What each rank does in a step, for either way to treat halos."""

    recompute: Load
    exchange: Load


def count_loads(edges: Edges, owners: NDArray[np.int64], *, parts: int, ranks: int, profile: Profile) -> Loads:
    """Cut out what each rank would hold, and count.

    Args:
        edges: of the structure. With candidates instead, halos come out a little too wide.
        owners: (N,) int64, the part of each atom.
        parts: how many parts there are; they go to ranks as in `build_domains`.
        ranks: how many ranks there are.
        profile: of the model.
    """
    rank_of = owners * ranks // parts
    cutter = Cutter(edges, len(owners))
    received = np.zeros((ranks, ranks), np.int64)
    far = near = 0
    for rank in range(ranks):
        piece = cutter.cut(np.flatnonzero(rank_of == rank), profile.reach)
        inner = piece.levels[profile.exchanged_reach]
        received[rank] = np.bincount(rank_of[piece.atoms[piece.levels[0] : inner]], minlength=ranks)
        far, near = far + len(piece.atoms), near + inner
    busiest = int(np.maximum(received.sum(0), received.sum(1)).max())
    recomputed, exchanged = _edges(cutter, owners, parts=parts, ranks=ranks, profile=profile)
    atoms = len(owners)
    return Loads(
        recompute=Load(ranks, atoms, recomputed, 0, far),
        exchange=Load(ranks, atoms, exchanged, busiest if profile.rounds else 0, near),
    )


def predict_loads(atoms: float, density: float, cutoff: float, ranks: int, profile: Profile) -> Loads:
    """The loads of a uniform periodic cube whose ranks own one block each.

    Args:
        atoms: of the whole cube.
        density: atoms/Å³.
        cutoff: Å.
        ranks: how many.
        profile: of the model.
    """
    owned, neighbours = atoms / ranks, density * 4.0 / 3.0 * pi * cutoff**3
    reached = [ratio * owned for ratio in growth(atoms, density, cutoff, ranks, profile.reach)]
    recomputed = neighbours * sum(reached[level] for level in profile.levels)
    exchanged = neighbours * sum(reached[level] for level in profile.exchanged_levels)
    near = reached[profile.exchanged_reach]
    return Loads(
        recompute=Load(ranks, atoms, recomputed, 0.0, ranks * reached[profile.reach]),
        exchange=Load(ranks, atoms, exchanged, near - owned if profile.rounds else 0.0, ranks * near),
    )


def _edges(
    cutter: Cutter, owners: NDArray[np.int64], *, parts: int, ranks: int, profile: Profile
) -> tuple[int, int]:
    """Edges that the busiest rank evaluates, if it recomputes halos and if it exchanges them."""
    recomputed, exchanged = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    for part in range(parts):
        within = cutter.cut(np.flatnonzero(owners == part), profile.reach).edge_levels
        rank = part * ranks // parts
        recomputed[rank] += sum(within[level] for level in profile.levels)
        exchanged[rank] += sum(within[level] for level in profile.exchanged_levels)
    return int(recomputed.max()), int(exchanged.max())
