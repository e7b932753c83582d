"""Lists within a block, and pairs and chains of edges: what a stage of several rules or with index sets reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from halocline.aggregation.rows import prefix, weighted
from halocline.aggregation.sums import PLAIN, RowSums


class TripletBlock(ABC):
    """Pairs of edges that share an atom, written ``[..., +]``: messages go from the edges read to those written.

    Flat, ``[..., +]`` is (T,); in tables (n_out, k, k): slot, then the other edge's slot in the row of the shared
    atom; (n_out, k, 1) for opposites. Values of edges are those of the lists of the two rules.
    """

    @abstractmethod
    def at_written(self, values: Tensor) -> Tensor:
        """Read values [..., *] of the edges that are written: [..., +, *]."""

    @abstractmethod
    def at_read(self, values: Tensor) -> Tensor:
        """Read values [..., *] of the edges that are read: [..., +, *].

        For triplets at the sender, and for opposites, they are values on the block before this one, whose
        receivers are the atoms that this block reads.
        """

    @abstractmethod
    def sum(self, messages: Tensor) -> Tensor:
        """Add up messages [..., +, *] at the edges written: [..., *]."""

    @abstractmethod
    def own(self, values: Tensor) -> Tensor:
        """Keep the pairs of this block, of values [..., +, *] written on a block of more; as `Block.own`."""


class QuadrupletBlock(TripletBlock):
    """Chains of three edges, likewise: ``[..., +]`` is (Q,), or (n_out, k, k, k) in tables.

    There it is the slot of the edge that is written, of that between, and of that which is read in the row of the
    sender of that between. `at_read` takes values on the block before.
    """

    @abstractmethod
    def at_between(self, values: Tensor) -> Tensor:
        """Read values [..., *] of the edges between: [..., +, *]."""


@dataclass(frozen=True, slots=True)
class EdgeTriplets(TripletBlock):
    """Triplets of flat edges: places in the lists of both rules.

    Attributes:
        written: (T,) int64, never decreasing.
        read: (T,) int64.
        count: of the edges that can be written.
        sums: how messages, and gradients of what is read, are added up.
    """

    written: Tensor
    read: Tensor
    count: int
    sums: RowSums = PLAIN

    def at_written(self, values: Tensor) -> Tensor:
        """See `TripletBlock.at_written`."""
        return self.sums.take(values, self.written)

    def at_read(self, values: Tensor) -> Tensor:
        """See `TripletBlock.at_read`."""
        return self.sums.take(values, self.read)

    def sum(self, messages: Tensor) -> Tensor:
        """See `TripletBlock.sum`."""
        return self.sums.add_up(messages, self.written, self.count)

    def own(self, values: Tensor) -> Tensor:
        """See `TripletBlock.own`."""
        return prefix(values, self.written.shape[0])


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeQuadruplets(EdgeTriplets, QuadrupletBlock):
    """Quadruplets of flat edges: likewise, with places in the list of the rule between.

    Attributes:
        between: (Q,) int64.
    """

    between: Tensor

    def at_between(self, values: Tensor) -> Tensor:
        """See `QuadrupletBlock.at_between`."""
        return self.sums.take(values, self.between)


@final
@dataclass(frozen=True, slots=True)
class EdgeSets:
    """The lists and index sets of a block of flat edges.

    Attributes:
        places: rule → (E_r,) int64 among the edges of the block; None for all of them.
        triplets: those that stages ask for.
        quadruplets: likewise.
    """

    places: Mapping[Hashable, Tensor | None]
    triplets: Mapping[Hashable, EdgeTriplets]
    quadruplets: Mapping[Hashable, EdgeQuadruplets]


@final
@dataclass(frozen=True, slots=True)
class TableSets:
    """The lists of tables. Rows are those of the outermost block: each block takes the first of them.

    Attributes:
        masks: rule → (rows, k), ones and zeros.
        opposite: (rows, k) int64, the flat slot of the opposite edge, or the zero slot. None if not needed.
        triplets: which → the rules of the edges written and of those read, and where they meet.
        quadruplets: which → the rules of the edges written, of those between, and of those read.
    """

    masks: Mapping[Hashable, Tensor]
    opposite: Tensor | None
    triplets: Mapping[Hashable, tuple[Hashable, Hashable, str]]
    quadruplets: Mapping[Hashable, tuple[Hashable, Hashable, Hashable]]


@final
@dataclass(frozen=True, slots=True)
class TableTriplets(TripletBlock):
    """All pairs of slots, most of which are padding where rows are sparse; or slots with their opposites.

    Attributes:
        mask: (n_out, k, k), or (n_out, k, 1) for opposites; ones and zeros.
        read: gathers the slots that are read from values (n_in, k, *) of the block before, like the mask; None for
            triplets at the receiver, whose rows are those of the block itself.
    """

    mask: Tensor
    read: Callable[[Tensor], Tensor] | None

    def at_written(self, values: Tensor) -> Tensor:
        """See `TripletBlock.at_written`."""
        return values.unsqueeze(2).expand(*self.mask.shape, *values.shape[2:])

    def at_read(self, values: Tensor) -> Tensor:
        """See `TripletBlock.at_read`."""
        if self.read is not None:
            return self.read(values)
        return values.unsqueeze(1).expand(*self.mask.shape, *values.shape[2:])

    def sum(self, messages: Tensor) -> Tensor:
        """See `TripletBlock.sum`."""
        return weighted(messages, self.mask).sum(2)

    def own(self, values: Tensor) -> Tensor:
        """See `TripletBlock.own`."""
        return prefix(values, self.mask.shape[0])


@final
@dataclass(frozen=True, slots=True)
class TableQuadruplets(QuadrupletBlock):
    """All chains of three slots.

    Attributes:
        inner: the pairs of the edges written and of those between.
        outer: the pairs of the edges between and of those read.
    """

    inner: TableTriplets
    outer: TableTriplets

    @property
    def mask(self) -> Tensor:
        """(n_out, k, k, k), ones and zeros."""
        return self.inner.mask.unsqueeze(3) * self.outer.mask.unsqueeze(1)

    def at_written(self, values: Tensor) -> Tensor:
        """See `TripletBlock.at_written`."""
        return self._spread(self.inner.at_written(values), 3)

    def at_between(self, values: Tensor) -> Tensor:
        """See `QuadrupletBlock.at_between`."""
        return self._spread(self.inner.at_read(values), 3)

    def at_read(self, values: Tensor) -> Tensor:
        """See `TripletBlock.at_read`."""
        return self._spread(self.outer.at_read(values), 1)

    def sum(self, messages: Tensor) -> Tensor:
        """See `TripletBlock.sum`."""
        return weighted(messages, self.mask).sum(3).sum(2)

    def own(self, values: Tensor) -> Tensor:
        """See `TripletBlock.own`."""
        return prefix(values, self.inner.mask.shape[0])

    def _spread(self, values: Tensor, axis: int) -> Tensor:
        """Values of pairs (n_out, k, k, *), the same along one more axis."""
        width = self.inner.mask.shape[1]
        shape = (*values.shape[:axis], width, *values.shape[axis:])
        return values.unsqueeze(axis).expand(shape)


def different_slots(written: Tensor, read: Tensor) -> Tensor:
    """Pairs of slots of one row that are in their lists and differ, (n, k, k) bool.

    Args:
        written: (n, k), the mask of one list.
        read: (n, k), of the other.
    """
    slots = torch.arange(written.shape[1], device=written.device)
    different = (slots[:, None] != slots).to(written.dtype)
    return written.unsqueeze(2) * read.unsqueeze(1) * different
