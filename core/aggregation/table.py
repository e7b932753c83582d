"""The form for fixed-shape compilers: padded tables, gathers and dense sums, no scatter."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from halocline.aggregation.block import Block, undeclared
from halocline.aggregation.radial import evaluated
from halocline.aggregation.rows import prefix, take, weighted
from halocline.aggregation.sets import TableQuadruplets, TableSets, TableTriplets, different_slots
from halocline.aggregation.tabulated import shared_table


@final
@dataclass(frozen=True, slots=True)
class TableBlock(Block):
    """Edges as rows of a padded table, with the transposed table that gradients need.

    The last slot of the first row is always padding. It serves as the zero slot: flat slots that stand for
    nothing point at it. The transposed table lists, for every atom *read*, the slots that read it; rows for the
    atoms written alone would lose force in a part while all energies stay right.

    Attributes:
        vectors: (n_out, k, 3), Å, zero where padded.
        neighbours: (n_out, k) int64, senders; some atom where padded.
        transposed: (n_in, t) int64, flat slots of ``neighbours`` that hold this atom, or the zero slot k - 1.
        mask: (n_out, k), ones and zeros.
        sets: lists and triplets of a model that has such; else None.
    """

    n_in: int
    n_out: int
    vectors: Tensor
    neighbours: Tensor
    transposed: Tensor
    mask: Tensor
    sets: TableSets | None = None

    def at_senders(self, values: Tensor) -> Tensor:
        """See `Block.at_senders`; (n_out, k, *)."""
        return _gather(values, self.neighbours, self.transposed, self.mask)

    def at_receivers(self, values: Tensor) -> Tensor:
        """See `Block.at_receivers`; (n_out, k, *)."""
        rows = self.targets(values).unsqueeze(1)
        return rows.expand(-1, self.neighbours.shape[1], *(-1,) * (values.ndim - 1))

    def sum(self, messages: Tensor) -> Tensor:
        """See `Block.sum`."""
        return weighted(messages, self.mask).sum(1)

    def sum_at_senders(self, messages: Tensor) -> Tensor:
        """See `Block.sum_at_senders`."""
        return _collect(messages, self.neighbours, self.transposed, self.mask)

    def convolve(
        self,
        values: Tensor,
        radial: Callable[..., Tensor] | Tensor,
        angular: Tensor | None = None,
        kinds: Tensor | None = None,
    ) -> Tensor:
        """See `Block.convolve`; tables that all pairs of atoms share have a way of their own."""
        if shared_table(radial) and angular is None and values.ndim == 2:
            return radial.convolve_table(values, self.lengths(), self.neighbours, self.transposed, self.mask)
        return Block.convolve(self, values, radial, angular, kinds)

    def own(self, values: Tensor) -> Tensor:
        """See `Block.own`; (n_out, k, *)."""
        return prefix(values, self.n_out)

    def targets(self, values: Tensor) -> Tensor:
        """See `Block.targets`."""
        return prefix(values, self.n_out)

    def rows(self, values: Tensor, most: int) -> Tensor:
        """See `Block.rows`; they are rows already."""
        return weighted(values, self.mask)

    def from_rows(self, rows: Tensor) -> Tensor:
        """See `Block.from_rows`."""
        return rows

    def radial(self, function: Callable[..., Tensor], kinds: Tensor | None = None) -> Tensor:
        """See `Block.radial`; a fixed table evaluates every slot: finding pairs would cost more than it saves."""
        return evaluated(function, self.lengths(), kinds, lambda x: (self.at_senders(x), self.at_receivers(x)))

    def within(self, rule: Hashable) -> TableBlock:
        """See `Block.within`."""
        if self.sets is None:  # there is one list
            return self
        if rule not in self.sets.masks:
            raise undeclared(rule)
        mask = self.sets.masks[rule][: self.n_out]
        return replace(self, mask=mask, vectors=weighted(self.vectors, mask))

    def select(self, values: Tensor, rule: Hashable) -> Tensor:
        """See `Block.select`; all lists have the same slots."""
        if self.sets is not None and rule not in self.sets.masks:
            raise undeclared(rule)
        return values

    def spread(self, values: Tensor, rule: Hashable) -> Tensor:
        """See `Block.spread`; all lists have the same slots."""
        if self.sets is None:  # there is one list
            return values
        if rule not in self.sets.masks:
            raise undeclared(rule)
        return weighted(values, self.sets.masks[rule][: self.n_out])

    def triplets(self, which: Hashable) -> TableTriplets:
        """See `Block.triplets`."""
        if self.sets is None or which not in self.sets.triplets:
            raise undeclared(which)
        return self._triplets(self.sets, *self.sets.triplets[which])

    def quadruplets(self, which: Hashable) -> TableQuadruplets:
        """See `Block.quadruplets`."""
        if self.sets is None or which not in self.sets.quadruplets:
            raise undeclared(which)
        written_by, between, read_by = self.sets.quadruplets[which]
        return TableQuadruplets(
            self._triplets(self.sets, written_by, between, "receiver"),
            self._triplets(self.sets, between, read_by, "sender"),
        )

    def _triplets(self, sets: TableSets, written_by: Hashable, read_by: Hashable, at: str) -> TableTriplets:
        written, read = sets.masks[written_by][: self.n_out], sets.masks[read_by]
        if at == "receiver":
            return TableTriplets(different_slots(written, read[: self.n_out]), None)
        assert sets.opposite is not None
        opposite, width = sets.opposite[: self.n_out], self.neighbours.shape[1]
        if at == "opposite":
            mask = written * take(read.flatten(), opposite.reshape(-1)).view(opposite.shape)
            return TableTriplets(mask.unsqueeze(2), self._opposites(mask, read))
        rows = take(read, self.neighbours.reshape(-1)).view(*self.neighbours.shape, width)
        slots = self.neighbours.unsqueeze(2) * width + torch.arange(width, device=read.device)
        others = (slots != opposite.unsqueeze(2)).to(read.dtype)
        return TableTriplets(written.unsqueeze(2) * rows * others, self.at_senders)

    def _opposites(self, written: Tensor, read: Tensor) -> Callable[[Tensor], Tensor]:
        """Reads values (n_in, k, *) of edges at their opposites: (n_out, k, 1, *)."""
        assert self.sets is not None
        assert self.sets.opposite is not None
        there, back = self.sets.opposite[: self.n_out], self.sets.opposite[: self.n_in]
        # Opposites whose receivers lie outside this block do not exist in it; they read the zero slot instead.
        back = back.where(back < self.n_out * self.neighbours.shape[1], self.neighbours.shape[1] - 1)
        turn = partial(_turn, there=there, back=back, written=written, read=read[: self.n_in])
        return lambda values: turn(values).unsqueeze(2)


def _gather(values: Tensor, neighbours: Tensor, transposed: Tensor, mask: Tensor) -> Tensor:
    return _Gather.apply(values, neighbours, transposed, mask)  # type: ignore[no-any-return, no-untyped-call]


def _collect(messages: Tensor, neighbours: Tensor, transposed: Tensor, mask: Tensor) -> Tensor:
    return _Collect.apply(messages, neighbours, transposed, mask)  # type: ignore[no-any-return, no-untyped-call]


class _Gather(torch.autograd.Function):
    """(n_in, *) → (n_out, k, *). Its transpose is `_Collect`, so every order of derivative is free of scatter.

    Padded slots show some real atom, so that whatever a stage computes there is as finite as elsewhere.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, neighbours: Tensor, transposed: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(neighbours, transposed, mask)
        rows = take(values, neighbours.reshape(-1))
        return rows.view(*neighbours.shape, *values.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        neighbours, transposed, mask = ctx.saved_tensors
        return _collect(gradients[0], neighbours, transposed, mask), None, None, None


class _Collect(torch.autograd.Function):
    """(n_out, k, *) → (n_in, *): for each atom read, add up the slots that read it."""

    @staticmethod
    def forward(ctx: Any, messages: Tensor, neighbours: Tensor, transposed: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(neighbours, transposed, mask)
        slots = weighted(messages, mask).flatten(0, 1)
        return take(slots, transposed.reshape(-1)).view(*transposed.shape, *messages.shape[2:]).sum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        neighbours, transposed, mask = ctx.saved_tensors
        return weighted(_gather(gradients[0], neighbours, transposed, mask), mask), None, None, None


def _turn(values: Tensor, there: Tensor, back: Tensor, written: Tensor, read: Tensor) -> Tensor:
    return _Turn.apply(values, there, back, written, read)  # type: ignore[no-any-return, no-untyped-call]


class _Turn(torch.autograd.Function):
    """(rows, k, *) → (others, k, *): each slot reads its opposite. The transpose is the same the other way round.

    Slots without an opposite read the zero slot, whose values mean nothing and whose masks are zero.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, there: Tensor, back: Tensor, written: Tensor, read: Tensor) -> Tensor:
        ctx.save_for_backward(there, back, written, read)
        slots = take(values.flatten(0, 1), there.reshape(-1))
        return slots.view(*there.shape, *values.shape[2:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        there, back, written, read = ctx.saved_tensors
        return _turn(weighted(gradients[0], written), back, there, read, written), None, None, None, None
