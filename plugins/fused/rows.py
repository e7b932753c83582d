"""Edges as rows of an atom each, which is what operators loop over: every row of a result has one writer."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from halocline.aggregation import EdgeBlock
from halocline.aggregation.edges import row_starts
from halocline.plugins.fused.edges import order_by_sender

#: Channels are padded to a multiple of this: whole vectors, however wide those of the processor are.
CHANNELS: Final = 16


class Rows(NamedTuple):
    """Edges by the atom at one of their ends.

    Attributes:
        others: (E,) int64, the atom at the other end of each edge.
        starts: (rows,) int64, the place of the first edge of each row in the order.
        order: (E,) int64, the edges row after row; None where they are in this order.
    """

    others: Tensor
    starts: Tensor
    order: Tensor | None

    def spelled_out(self) -> tuple[Tensor | None, Tensor, Tensor]:
        """By place in the order: the edge (None where it is that of this number), its row, and its other."""
        numbers = torch.arange(self.others.shape[0], device=self.others.device)
        rows = torch.searchsorted(self.starts, numbers, right=True) - 1
        return self.order, rows, self.others if self.order is None else self.others.index_select(0, self.order)


def rows_of(block: EdgeBlock) -> tuple[Rows, Rows]:
    """The edges of a block by receiver, and by sender.

    In a whole structure every edge has its opposite in the block: the opposites of those by receiver are those by
    sender, and nothing has to be sorted.
    """
    starts = row_starts(block.receivers, block.n_out) if block.row_starts is None else block.row_starts
    by_receiver = Rows(block.senders, starts, None)
    if isinstance(block.n_in, int) and block.n_in == block.n_out and block.opposite is not None:
        return by_receiver, Rows(block.receivers, starts, block.opposite)
    order, starts = order_by_sender(block.senders, block.n_in)
    return by_receiver, Rows(block.receivers, starts[:-1], order)


def padded(values: Tensor) -> Tensor:
    """Values (*, C) with channels of zeros up to a multiple of `CHANNELS`, in one piece of memory."""
    missing = -values.shape[-1] % CHANNELS
    return pad(values, (0, missing)) if missing else values.contiguous()


def cropped(values: Tensor, channels: int) -> Tensor:
    """The first channels of values (*, C), in one piece of memory."""
    return values if values.shape[-1] == channels else values[..., :channels].contiguous()
