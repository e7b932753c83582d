"""The form for torch: a flat list of edges, sorted by receiver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor

from halocline.aggregation.block import Block, safe_norm
from halocline.aggregation.prefix import prefix


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
    """

    n_in: int
    n_out: int
    vectors: Tensor
    senders: Tensor
    receivers: Tensor
    mask: Tensor | None = None
    pairs: Tensor | None = None
    pair_of: Tensor | None = None

    def at_senders(self, values: Tensor) -> Tensor:
        """See `Block.at_senders`; (E, C)."""
        return values.index_select(0, self.senders)

    def at_receivers(self, values: Tensor) -> Tensor:
        """See `Block.at_receivers`; (E, C)."""
        return values.index_select(0, self.receivers)

    def sum(self, messages: Tensor) -> Tensor:
        """See `Block.sum`."""
        if self.mask is not None:
            messages = messages * self.mask[:, None]
        total = messages.new_zeros((self.n_out, messages.shape[1]))
        return total.index_add(0, self.receivers, messages)

    def sum_at_senders(self, messages: Tensor) -> Tensor:
        """See `Block.sum_at_senders`."""
        if self.mask is not None:
            messages = messages * self.mask[:, None]
        total = messages.new_zeros((self.n_in, messages.shape[1]))
        return total.index_add(0, self.senders, messages)

    def own(self, values: Tensor) -> Tensor:
        """See `Block.own`; (E, C)."""
        return prefix(values, self.vectors.shape[0])

    def targets(self, values: Tensor) -> Tensor:
        """See `Block.targets`."""
        return prefix(values, self.n_out)

    def radial(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """See `Block.radial`. The gradient of a pair goes to the vector of one of its two edges."""
        if self.pairs is None or self.pair_of is None:
            return function(self.lengths())
        mask = None if self.mask is None else self.mask.index_select(0, self.pairs)
        lengths = safe_norm(self.vectors.index_select(0, self.pairs), mask)
        return function(lengths).index_select(0, self.pair_of)
