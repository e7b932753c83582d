"""All pairs within a radius, found on the device where a program runs: nothing of the size of the edges travels.

The search in a tree (`halocline.graph.radius`) is the reference: the same pairs, in the same order. Atoms are
brought into the cell and surrounded with images alike; pairs are then found bin by bin instead of in a tree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Final, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from halocline.graph import Structure
from halocline.graph.radius import Images, images_within, radius_edges
from halocline.program.geometry import edge_vectors
from halocline.shares import timed

#: Pairs of points that are looked at together: a few hundred MiB.
_AT_ONCE: Final = 2**22

#: Bins are numbered in one row by whole numbers of 64 bits, with room for sums.
_MOST_BINS: Final = 2**62

#: The bins around one, but for the last direction, in which three bins have numbers in a row.
_AROUND: Final = tuple(product((-1, 0, 1), repeat=2))


@final
class DevicePairs(NamedTuple):
    """Directed pairs in the order of `Edges`: by receiver, then sender, then shift. All of it is on the device.

    Attributes:
        receivers: (C,) int64.
        senders: (C,) int64.
        shifts: (C, p) float64, whole numbers of the p periodic vectors that are added to the sender's position.
        partners: (C,) int64, the opposite of each.
    """

    receivers: Tensor
    senders: Tensor
    shifts: Tensor
    partners: Tensor


@timed("search")
def pairs_within(structure: Structure, radius: float, device: str) -> DevicePairs:
    """Find every pair nearer than a radius, in both directions.

    Args:
        structure: N atoms.
        radius: Å.
        device: where to search.

    Raises:
        StructureError: as for `radius_edges`.
    """
    images = images_within(structure, radius, np.arange(len(structure)))
    bins = _Bins.of(images, device)
    if bins is None:
        edges = radius_edges(structure, radius)
        found = [torch.from_numpy(each).to(device) for each in (edges.receivers, edges.senders, edges.shifts)]
        receivers, senders, shifts = found
    else:
        receivers, senders, shifts = _Search(structure, images, bins, radius, device).pairs()
    order = _order(receivers, senders, shifts, len(structure))
    receivers, senders, shifts = (each.index_select(0, order) for each in (receivers, senders, shifts))
    partners = torch.empty_like(order)
    partners[_order(senders, receivers, -shifts, len(structure))] = torch.arange(len(order), device=device)
    return DevicePairs(receivers, senders, shifts[:, structure.pbc.tolist()].double(), partners)


@final
class _Bins(NamedTuple):
    """Points in cubes as long as the reach.

    Attributes:
        points: (M, 3) Å.
        order: (M,) int64, the points by the number of their bin.
        numbers: (M,) int64, the numbers of their bins, ascending.
        of_points: (M,) int64, the number of each point's bin.
        strides: by how much the number grows along each direction.
    """

    points: Tensor
    order: Tensor
    numbers: Tensor
    of_points: Tensor
    strides: tuple[int, int, int]

    @classmethod
    def of(cls, images: Images, device: str) -> _Bins | None:
        """Sort points into bins; None where there are more bins than numbers, however few of them have points."""
        points = torch.from_numpy(images.points).to(device)
        lowest = images.points.min(0)
        counts = [math.floor(span / images.reach) + 3 for span in images.points.max(0) - lowest]
        if math.prod(counts) > _MOST_BINS:
            return None
        places = torch.floor((points - torch.from_numpy(lowest).to(device)) / images.reach).long() + 1
        strides = (counts[1] * counts[2], counts[2], 1)
        of_points = sum(places[:, axis] * stride for axis, stride in enumerate(strides))
        assert isinstance(of_points, Tensor)
        numbers, order = torch.sort(of_points)
        return cls(points, order, numbers, of_points, strides)

    def rows(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Of nine rows of three bins around each point: where their points begin in the order, and end, (n, 9)."""
        here = self.of_points.index_select(0, points)
        middles = [here + x * self.strides[0] + y * self.strides[1] for x, y in _AROUND]
        rows = torch.stack(middles, 1)
        return torch.searchsorted(self.numbers, rows - 1), torch.searchsorted(self.numbers, rows + 1, right=True)


@final
class _Search:
    """One search, group of receivers by group.

    Args:
        structure: N atoms.
        images: theirs.
        bins: in which these are.
        radius: Å.
        device: where they are.
    """

    def __init__(self, structure: Structure, images: Images, bins: _Bins, radius: float, device: str) -> None:
        self._bins, self._radius, self._reach = bins, radius, images.reach
        self._home, self._atoms, self._shifts = (
            torch.from_numpy(each).to(device) for each in (images.home, images.atoms, images.shifts)
        )
        self._positions = torch.from_numpy(structure.positions).to(device)
        self._periodic = structure.pbc.tolist()
        self._lattice = torch.from_numpy(structure.cell[structure.pbc]).to(device)

    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Receivers (C,), senders (C,) and shifts (C, 3), int64, in no order."""
        starts, ends = self._bins.rows(self._home)
        found = [self._of(some, starts[some], ends[some]) for some in self._groups((ends - starts).sum(1))]
        receivers, senders, shifts = zip(*found, strict=True)
        return torch.cat(receivers), torch.cat(senders), torch.cat(shifts)

    def _groups(self, counts: Tensor) -> Iterator[slice]:
        """Receivers in a row that have so many points around them in all; at least one."""
        ends = np.cumsum(counts.cpu().numpy())
        first = 0
        while first < len(ends):
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
            yield slice(first, last)
            first = last

    def _of(self, some: slice, starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs of some receivers, by where the points in the bins around them are in the order, (n, 9)."""
        home = self._home[some]
        counts = (ends - starts).flatten()
        row = torch.repeat_interleave(counts)  # which waits for the device
        step = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts).index_select(0, row)
        there = self._bins.order.index_select(0, starts.flatten().index_select(0, row) + step)
        here = home.index_select(0, row // len(_AROUND))
        apart = self._bins.points.index_select(0, there) - self._bins.points.index_select(0, here)
        near = ((apart * apart).sum(1) < self._reach**2) & (here != there)
        here, there = here[near], there[near]
        receivers, senders = self._atoms.index_select(0, here), self._atoms.index_select(0, there)
        shifts = self._shifts.index_select(0, there) - self._shifts.index_select(0, here)
        vectors = edge_vectors(
            self._positions.index_select(0, senders),
            self._positions.index_select(0, receivers),
            shifts[:, self._periodic].double(),
            self._lattice,
        )
        inside = (vectors * vectors).sum(1) < self._radius**2
        return receivers[inside], senders[inside], shifts[inside]


def _order(first: Tensor, second: Tensor, shifts: Tensor, atoms: int) -> Tensor:
    """The order of pairs by one end, then the other, then shift, (C,)."""
    if not len(first):
        return first.new_empty(0)
    lowest = shifts.amin(0)
    spans = shifts.amax(0) - lowest + 1
    x, y, z = (shifts - lowest).unbind(1)
    order = torch.sort((x * spans[1] + y) * spans[2] + z, stable=True).indices
    ends = first.index_select(0, order) * atoms + second.index_select(0, order)
    return order.index_select(0, torch.sort(ends, stable=True).indices)
