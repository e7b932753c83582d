"""Which rank owns which region: boxes with equally many atoms, found by ranks of which none knows all atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.resident.frame import Frame
from halocline.backends.ddp.resident.peers import Peers

#: Atoms are counted in so many bins of the box that is cut, then in as many of the bin that the cut is in, and so
#: on: in four rounds a cut is found to 6e-8 of the box.
BINS: Final = 64
ROUNDS: Final = 4


@final
@dataclass(frozen=True, slots=True)
class Regions:
    """One box of coordinates for each of P ranks.

    Recursive bisection (Berger and Bokhari, IEEE Trans. Comput. C-36 (1987) 570), for any number of ranks: those
    from a to b - 1 share a box, which is cut between m - 1 and m = (a + b) // 2. So each number from 1 to P - 1
    stands for one cut.

    Attributes:
        axes: (P - 1,) int64, the coordinate that each cut is at.
        cuts: (P - 1,) float64, where; atoms from there on belong to the ranks from m on. See `Frame` for units.
    """

    axes: NDArray[np.int64]
    cuts: NDArray[np.float64]

    @classmethod
    def balanced(cls, positions: NDArray[np.float64], frame: Frame, peers: Peers) -> Self:
        """Regions that own equally many atoms now, whoever holds these; the same on all ranks.

        Args:
            positions: (n, 3) Å, of the atoms of this rank.
            frame: of the structure.
            peers: all ranks.
        """
        ranks = peers.size
        axes, cuts, ends = np.zeros(ranks - 1, np.int64), np.zeros(ranks - 1), np.zeros(ranks, np.int64)
        ends[0] = ranks
        coordinates, first = frame.wrapped(positions), np.zeros(len(positions), np.int64)
        while len(begins := np.flatnonzero(ends - np.arange(ranks) > 1)):
            middles, upper = (begins + ends[begins]) // 2, np.arange(ranks)
            upper[begins] = middles
            share = np.zeros(ranks)
            share[begins] = (middles - begins) / (ends[begins] - begins)
            low, high = _extents(coordinates, first, ranks, peers)
            axis = np.argmax((high - low) * frame.heights, axis=1)
            place = coordinates[np.arange(len(first)), axis[first]]
            low, high = (np.take_along_axis(faces, axis[:, None], axis=1)[:, 0] for faces in (low, high))
            cut = _quantiles(place, first, low, high, share, peers)
            axes[middles - 1], cuts[middles - 1] = axis[begins], cut[begins]
            first = np.where(place >= cut[first], upper[first], first)
            ends[middles], ends[begins] = ends[begins], middles
        return cls(axes, cuts)

    def owners(self, coordinates: NDArray[np.float64]) -> NDArray[np.int64]:
        """The rank (n,) int64 in whose box each of some places is, by wrapped coordinates (n, 3)."""
        begin = np.zeros(len(coordinates), np.int64)
        end = np.full(len(coordinates), len(self.axes) + 1)
        while len(shared := np.flatnonzero(end - begin > 1)):
            middle = (begin[shared] + end[shared]) // 2
            beyond = coordinates[shared, self.axes[middle - 1]] >= self.cuts[middle - 1]
            begin[shared] = np.where(beyond, middle, begin[shared])
            end[shared] = np.where(beyond, end[shared], middle)
        return begin


def _extents(
    coordinates: NDArray[np.float64], group: NDArray[np.int64], groups: int, peers: Peers
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper faces (g, 3) of the box around each group's atoms on all ranks; zero where it has none."""
    faces = np.full((2, groups, 3), np.inf)
    for axis in range(3):
        np.minimum.at(faces[0, :, axis], group, coordinates[:, axis])
        np.minimum.at(faces[1, :, axis], group, -coordinates[:, axis])
    low, high = peers.gathered(faces).min(axis=0)
    return np.where(low < np.inf, low, 0.0), np.where(high < np.inf, -high, 0.0)


def _quantiles(
    place: NDArray[np.float64],
    group: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    share: NDArray[np.float64],
    peers: Peers,
) -> NDArray[np.float64]:
    """Where to cut each group so that a share of its atoms on all ranks lies below, (g,).

    Args:
        place: (n,), of the atoms of this rank.
        group: (n,), which each belongs to.
        low: (g,), the lowest place in each group.
        high: (g,), the highest.
        share: (g,), between 0 and 1.
        peers: all ranks.
    """
    each, below = np.arange(len(low)), np.zeros(len(low), np.int64)
    wanted = share * peers.total(np.bincount(group, minlength=len(low)))
    for _ in range(ROUNDS):
        edges = low[:, None] + (high - low)[:, None] * (np.arange(BINS + 1) / BINS)
        inside = (place >= edges[group, 0]) & (place <= edges[group, -1])
        width = np.maximum((high - low)[group[inside]], np.finfo(np.float64).tiny)
        bins = np.minimum((place[inside] - low[group[inside]]) * BINS / width, BINS - 1).astype(np.int64)
        counts = np.bincount(group[inside] * BINS + bins, minlength=len(low) * BINS)
        totals = below[:, None] + np.cumsum(peers.total(counts).reshape(-1, BINS), axis=1)
        found = np.argmax(totals >= wanted[:, None], axis=1)
        below = np.where(found > 0, totals[each, found - 1], below)
        low, high = edges[each, found], edges[each, found + 1]
    nearer_above = np.abs(totals[each, found] - wanted) < np.abs(below - wanted)
    return np.where(nearer_above, high, low)
