"""The form for torch: a flat list of edges, sorted by receiver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from halocline.aggregation.block import Block
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
    """

    n_in: int
    n_out: int
    vectors: Tensor
    senders: Tensor
    receivers: Tensor
    mask: Tensor | None = None

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

    def targets(self, values: Tensor) -> Tensor:
        """See `Block.targets`."""
        return prefix(values, self.n_out)
