"""The form for torch: a flat list of edges, sorted by receiver."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from halocline.aggregation.block import Block, safe_norm, undeclared
from halocline.aggregation.radial import EdgeConvolution, evaluated
from halocline.aggregation.rows import prefix, take, weighted
from halocline.aggregation.sets import EdgeQuadruplets, EdgeSets, EdgeTriplets
from halocline.aggregation.side_by_side import from_rows, to_rows
from halocline.aggregation.sums import PLAIN, RowSums


@final
@dataclass(frozen=True, slots=True)
class EdgeBlock(Block):
    """Edges as flat arrays.

    Attributes:
        vectors: (E, 3), Å.
        senders: (E,) int64, below ``n_in``.
        receivers: (E,) int64, below ``n_out``, never decreasing.
        mask: (E,) or None.
        pairs: (P,) int64, one edge of each pair, or None where pairs are not known.
        pair_of: (E,) int64, the pair that each edge belongs to.
        row_starts: (n_out,) int64, the first edge of each receiver; its edges end where those of the next begin.
        opposite: (E,) int64, the edge that leads back; E or more where that is none of this block. None where
            opposite edges are not known.
        sets: lists and triplets of a model that has such; else None.
        sums: how messages, and gradients of what is read, are added up.
    """

    n_in: int
    n_out: int
    vectors: Tensor
    senders: Tensor
    receivers: Tensor
    mask: Tensor | None = None
    pairs: Tensor | None = None
    pair_of: Tensor | None = None
    row_starts: Tensor | None = None
    opposite: Tensor | None = None
    sets: EdgeSets | None = None
    sums: RowSums = PLAIN

    def at_senders(self, values: Tensor) -> Tensor:
        """See `Block.at_senders`; (E, *)."""
        return self.sums.take(values, self.senders)

    def at_receivers(self, values: Tensor) -> Tensor:
        """See `Block.at_receivers`; (E, *)."""
        return self.sums.take(values, self.receivers)

    def sum(self, messages: Tensor) -> Tensor:
        """See `Block.sum`."""
        return self._total(messages, self.receivers, self.n_out)

    def sum_at_senders(self, messages: Tensor) -> Tensor:
        """See `Block.sum_at_senders`."""
        return self._total(messages, self.senders, self.n_in)

    def convolve(
        self,
        values: Tensor,
        radial: Callable[..., Tensor] | Tensor,
        angular: Tensor | None = None,
        kinds: Tensor | None = None,
    ) -> Tensor:
        """See `Block.convolve`; an `EdgeConvolution` that all pairs of atoms share has a way of its own."""
        plain = angular is None and self.mask is None and values.ndim == 2
        if plain and isinstance(radial, EdgeConvolution) and radial.pairs is None:
            return radial.convolve_edges(values, self)
        return Block.convolve(self, values, radial, angular, kinds)

    def own(self, values: Tensor) -> Tensor:
        """See `Block.own`; (E, *)."""
        return prefix(values, self.vectors.shape[0])

    def targets(self, values: Tensor) -> Tensor:
        """See `Block.targets`."""
        return prefix(values, self.n_out)

    def rows(self, values: Tensor, most: int) -> Tensor:
        """See `Block.rows`; padded to as many slots as rows may have, so that sizes follow from no values."""
        return to_rows(self._masked(values), *self._side_by_side(most))

    def from_rows(self, rows: Tensor) -> Tensor:
        """See `Block.from_rows`."""
        return self._masked(from_rows(rows, *self._side_by_side(rows.shape[1])))

    def _side_by_side(self, most: int) -> tuple[Tensor, Tensor]:
        """Which edge is in each slot of rows, (n_out, most), and in which slot each edge is, (E,)."""
        edges, starts = self.receivers.shape[0], self._starts()
        ends = torch.cat([starts[1:], starts.new_full((1,), edges)])[: self.n_out]
        there = starts[:, None] + torch.arange(most, device=starts.device)
        there = torch.where(there < ends[:, None], there, edges)
        columns = torch.arange(edges, device=starts.device) - take(starts, self.receivers)
        return there, self.receivers * most + columns.clamp(max=most - 1)

    def _masked(self, values: Tensor) -> Tensor:
        return values if self.mask is None else weighted(values, self.mask)

    def _starts(self) -> Tensor:
        return row_starts(self.receivers, self.n_out) if self.row_starts is None else self.row_starts

    def within(self, rule: Hashable) -> EdgeBlock:
        """See `Block.within`."""
        places = self._places(rule)
        if places is None or self.sets is None:
            return self
        receivers = take(self.receivers, places)
        return EdgeBlock(
            n_in=self.n_in,
            n_out=self.n_out,
            vectors=take(self.vectors, places),
            senders=take(self.senders, places),
            receivers=receivers,
            mask=None if self.mask is None else take(self.mask, places),
            row_starts=row_starts(receivers, self.n_out),
            sets=EdgeSets({rule: None}, self.sets.triplets, self.sets.quadruplets),
            sums=self.sums,
        )

    def select(self, values: Tensor, rule: Hashable) -> Tensor:
        """See `Block.select`; (E, *) → (E_r, *)."""
        places = self._places(rule)
        return values if places is None else take(values, places)

    def spread(self, values: Tensor, rule: Hashable) -> Tensor:
        """See `Block.spread`; (E_r, *) → (E, *)."""
        places = self._places(rule)
        return values if places is None else self.sums.add_up(values, places, self.vectors.shape[0])

    def triplets(self, which: Hashable) -> EdgeTriplets:
        """See `Block.triplets`."""
        if self.sets is None or which not in self.sets.triplets:
            raise undeclared(which)
        return replace(self.sets.triplets[which], sums=self.sums)

    def quadruplets(self, which: Hashable) -> EdgeQuadruplets:
        """See `Block.quadruplets`."""
        if self.sets is None or which not in self.sets.quadruplets:
            raise undeclared(which)
        return replace(self.sets.quadruplets[which], sums=self.sums)

    def _places(self, rule: Hashable) -> Tensor | None:
        """Which edges a rule keeps, (E_r,); None for all of them."""
        if self.sets is None:  # there is one list
            return None
        if rule not in self.sets.places:
            raise undeclared(rule)
        return self.sets.places[rule]

    def _total(self, messages: Tensor, atoms: Tensor, count: int) -> Tensor:
        """Messages (E, *) added up at so many atoms, (E,) of which they belong to."""
        if self.mask is not None:
            messages = weighted(messages, self.mask)
        return self.sums.add_up(messages, atoms, count)

    def radial(self, function: Callable[..., Tensor], kinds: Tensor | None = None) -> Tensor:
        """See `Block.radial`. The gradient of a pair goes to the vector of one of its two edges."""
        values = self.radial_of_pairs(function, kinds)
        return values if self.pairs is None or self.pair_of is None else take(values, self.pair_of)

    def radial_of_pairs(self, function: Callable[..., Tensor], kinds: Tensor | None = None) -> Tensor:
        """What `radial` is for each pair: (P, C), or (E, C) where pairs are not known."""
        if self.pairs is None or self.pair_of is None:
            return evaluated(function, self.lengths(), kinds, self._ends)
        mask = None if self.mask is None else take(self.mask, self.pairs)
        lengths = safe_norm(take(self.vectors, self.pairs), mask)
        return evaluated(function, lengths, kinds, self._ends_of_pairs)

    def _ends(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return take(values, self.senders), take(values, self.receivers)

    def _ends_of_pairs(self, values: Tensor) -> tuple[Tensor, Tensor]:
        assert self.pairs is not None
        return take(values, take(self.senders, self.pairs)), take(values, take(self.receivers, self.pairs))


def row_starts(receivers: Tensor, rows: int) -> Tensor:
    """The first edge of each of so many receivers, (rows,), of receivers (E,) that never decrease."""
    return torch.searchsorted(receivers, torch.arange(rows, device=receivers.device))


def opposite_edges(pairs: Tensor, pair_of: Tensor) -> Tensor:
    """The other edge of the pair that each edge belongs to, (E,); E where it has none.

    Args:
        pairs: (P,) int64, the first edge of each pair.
        pair_of: (E,) int64, the pair of each edge.
    """
    here = torch.arange(pair_of.shape[0], device=pair_of.device)
    zeros = torch.zeros_like(pairs)
    both = zeros.index_add(0, pair_of, here).index_select(0, pair_of)
    edges = zeros.index_add(0, pair_of, torch.ones_like(here)).index_select(0, pair_of)
    return torch.where(edges == 2, both - here, pair_of.shape[0])
