"""Sums of what edges have, for the atoms at one of their ends."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from halocline.aggregation.edges import row_starts
from halocline.plugins.fused.edges import order_by_sender
from halocline.plugins.triton_operators.candidates import for_some_channels
from halocline.plugins.triton_operators.launch import launch
from halocline.plugins.triton_operators.rows import CHANGING, row_range


def by_receiver(receivers: Tensor, rows: int) -> tuple[Tensor, None]:
    """Where the edges of each receiver begin, and that they are in order."""
    return row_starts(receivers, rows), None


def by_sender(senders: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Where the edges of each sender begin in an order, and that order."""
    order, starts = order_by_sender(senders, rows)
    return starts[:-1], order


def sum_rows(
    values: Tensor,
    ends: tuple[Tensor, Tensor | None],
    out: Tensor,
    factors: Tensor | None = None,
    *,
    swish: bool = False,
) -> Tensor:
    """Add up values of edges, in their order.

    Args:
        values: (E, C).
        ends: `by_receiver` or `by_sender`.
        out: (rows, C), where the sums are written.
        factors: (E, C) that values are multiplied by.
        swish: whether by the swish of them.

    Returns:
        ``out``. Rows of all of these may be apart from each other, not their columns.
    """
    starts, order = ends
    (rows, channels), edges = out.shape, values.shape[0]
    launch(
        _sum,
        [
            *(values, factors, order, starts, out, rows, edges, channels),
            *(values.stride(0), 0 if factors is None else factors.stride(0), out.stride(0), int(swish)),
        ],
        out,
        for_some_channels(channels),
        lambda blocks: (rows, triton.cdiv(channels, blocks["CHANNELS"])),
        about=(channels, order is None, factors is None),
        work=edges * channels,
    )
    return out


@triton.jit(do_not_specialize=CHANGING)
def _sum(
    values_at, factors_at, order_at, starts_at, out_at, rows, edges, channels,
    value_stride, factor_stride, out_stride, SWISH: tl.constexpr, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    channel = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    inside = channel < channels
    begin, end = row_range(starts_at, row, rows, edges)
    total = tl.zeros((EDGES, CHANNELS), dtype=out_at.dtype.element_ty)
    for first in range(begin, end, EDGES):
        place = first + tl.arange(0, EDGES)
        there = place < end
        edge = place
        if order_at is not None:
            edge = tl.load(order_at + place, mask=there, other=0)
        used = there[:, None] & inside
        value = tl.load(values_at + edge[:, None] * value_stride + channel, mask=used, other=0.0)
        if factors_at is not None:
            factor = tl.load(factors_at + edge[:, None] * factor_stride + channel, mask=used, other=0.0)
            value *= factor * tl.sigmoid(factor) if SWISH else factor
        total += value
    tl.store(out_at + row * out_stride + channel, tl.sum(total, 0)[None, :], mask=inside)
