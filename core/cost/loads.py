"""What one step asks of ranks: counted on real edges, or predicted for a uniform cube."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import NamedTuple, Self, final

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


@final
class RankLoad(NamedTuple):
    """What one rank holds and evaluates, for either way to treat halos.

    Attributes:
        recomputed: edges that it evaluates if halos are recomputed, as `Load` counts them.
        exchanged: likewise, if state is exchanged.
        far: atoms that it holds if halos are recomputed.
        near: likewise, if state is exchanged.
        received: (P,) int64, atoms of each rank whose state it gets in a round.
    """

    recomputed: int
    exchanged: int
    far: int
    near: int
    received: NDArray[np.int64]

    @classmethod
    def counted(
        cls,
        cutter: Cutter,
        owned: NDArray[np.int64],
        parts: NDArray[np.int64],
        rank_of: NDArray[np.int64],
        *,
        ranks: int,
        profile: Profile,
    ) -> Self:
        """Cut out what a rank would hold, and count.

        Args:
            cutter: of the structure's edges, or of those that the rank holds where halos are recomputed.
            owned: (n,) int64, its atoms, increasing.
            parts: (n,) int64, the part of each.
            rank_of: (N,) int64, the rank of each atom that the cutter knows.
            ranks: how many.
            profile: of the model.
        """
        piece = cutter.cut(owned, profile.reach)
        inner = piece.levels[profile.exchanged_reach]
        recomputed = exchanged = 0
        for part in np.unique(parts):
            within = cutter.cut(owned[parts == part], profile.reach).edge_levels
            recomputed += sum(within[level] for level in profile.levels)
            exchanged += sum(within[level] for level in profile.exchanged_levels)
        received = np.bincount(rank_of[piece.atoms[piece.levels[0] : inner]], minlength=ranks)
        return cls(recomputed, exchanged, len(piece.atoms), inner, received)


class Loads(NamedTuple):
    """What each rank does in a step, for either way to treat halos."""

    recompute: Load
    exchange: Load

    @classmethod
    def of_ranks(cls, each: Sequence[RankLoad], atoms: int, profile: Profile) -> Self:
        """Of what was counted for every rank, in their order, of a structure of so many atoms."""
        ranks, received = len(each), np.stack([rank.received for rank in each])
        busiest = int(np.maximum(received.sum(0), received.sum(1)).max()) if profile.rounds else 0
        far, near = sum(rank.far for rank in each), sum(rank.near for rank in each)
        return cls(
            recompute=Load(ranks, atoms, max(rank.recomputed for rank in each), 0, far),
            exchange=Load(ranks, atoms, max(rank.exchanged for rank in each), busiest, near),
        )


def count_loads(edges: Edges, owners: NDArray[np.int64], *, parts: int, ranks: int, profile: Profile) -> Loads:
    """Cut out what each rank would hold, and count.

    Args:
        edges: of the structure. With candidates instead, halos come out a little too wide.
        owners: (N,) int64, the part of each atom.
        parts: how many parts there are; they go to ranks as in `build_domains`.
        ranks: how many ranks there are.
        profile: of the model.
    """
    rank_of, cutter = owners * ranks // parts, Cutter(edges, len(owners))

    def of_rank(owned: NDArray[np.int64]) -> RankLoad:
        return RankLoad.counted(cutter, owned, owners[owned], rank_of, ranks=ranks, profile=profile)

    each = [of_rank(np.flatnonzero(rank_of == rank)) for rank in range(ranks)]
    return Loads.of_ranks(each, len(owners), profile)


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
