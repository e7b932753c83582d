"""Edges in the order of their senders, for sums at senders with one writer each."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from halocline.plugins.fused.operators import address, c_function, define


def order_by_sender(senders: Tensor, n_in: int) -> tuple[Tensor, Tensor]:
    """Sort edges by sender; those of one sender keep their order.

    Args:
        senders: (E,) int64, below ``n_in``.
        n_in: atoms that are read.

    Returns:
        ``order`` (E,) int64 and ``starts`` (n_in + 1,) int64: the edges of sender j are
        ``order[starts[j]:starts[j + 1]]``.
    """
    found: tuple[Tensor, Tensor] = torch.ops.halocline.order_by_sender(senders, n_in)
    return found


def _compute(senders: Tensor, n_in: int) -> tuple[Tensor, Tensor]:
    senders, order, starts = senders.contiguous(), torch.empty_like(senders), senders.new_empty(n_in + 1)
    sort = c_function("edges", "order_by_sender", "iippp")
    sort(len(senders), n_in, address(senders), address(order), address(starts))
    return order, starts


def _fake(senders: Tensor, n_in: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(senders), senders.new_empty(n_in + 1)


def _composite(senders: Tensor, n_in: int) -> tuple[Tensor, Tensor]:
    order = torch.argsort(senders, stable=True)
    numbers = torch.arange(n_in + 1, device=senders.device)
    return order, torch.searchsorted(senders.index_select(0, order), numbers)


ORDER_BY_SENDER: Final = define(
    "order_by_sender(Tensor senders, SymInt n_in) -> (Tensor, Tensor)", _compute, _fake, _composite
)
