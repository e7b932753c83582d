"""Convolutions with given weights; see `halocline.plugins.fused.weighted_convolution`."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from halocline.plugins.triton_operators.candidates import for_some_channels
from halocline.plugins.triton_operators.launch import launch
from halocline.plugins.triton_operators.rows import CHANGING, row_range


def convolve_weighted(
    values: Tensor, weights: Tensor, receivers: Tensor, others: Tensor, starts: Tensor, *rest: Tensor | None
) -> Tensor:
    """Σ w v over the edges of each receiver, (n_out, C)."""
    del receivers
    return sum_weighted(values, weights, others, starts, None, rest[3])


def sum_weighted(
    values: Tensor, weights: Tensor, others: Tensor, starts: Tensor, order: Tensor | None, row_of: Tensor | None
) -> Tensor:
    """The same over the edges of any rows: by sender, the gradient by values."""
    rows, edges, channels = starts.shape[0], others.shape[0], values.shape[1]
    out = values.new_empty((rows, channels))
    launch(
        _sum,
        [
            *(values.contiguous(), weights.contiguous(), others.contiguous(), starts.contiguous()),
            *(None if each is None else each.contiguous() for each in (order, row_of)),
            *(out, rows, edges, channels),
        ],
        out,
        for_some_channels(channels),
        lambda blocks: (rows, triton.cdiv(channels, blocks["CHANNELS"])),
        about=(channels, order is None, row_of is None),
        work=edges * channels,
    )
    return out


def pull_weights(
    gradients: Tensor,
    values: Tensor,
    senders: Tensor,
    receivers: Tensor,
    first: Tensor | None,
    opposite: Tensor | None,
) -> Tensor:
    """The gradient by the weights of edges, or of pairs."""
    edges, channels = senders.shape[0], values.shape[1]
    count = edges if first is None else first.shape[0]
    out = values.new_empty((count, channels))
    launch(
        _pull,
        [
            *(gradients.contiguous(), values.contiguous(), senders.contiguous(), receivers.contiguous()),
            *(None if each is None else each.contiguous() for each in (first, opposite)),
            *(out, count, edges, channels),
        ],
        out,
        for_some_channels(channels),
        lambda blocks: (triton.cdiv(count, blocks["EDGES"]), triton.cdiv(channels, blocks["CHANNELS"])),
        about=(channels, first is None),
        work=count * channels,
    )
    return out


@triton.jit(do_not_specialize=CHANGING)
def _sum(
    values_at, weights_at, others_at, starts_at, order_at, row_of_at, out_at,
    rows, edges, channels, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
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
        weight_row = edge
        if row_of_at is not None:
            weight_row = tl.load(row_of_at + edge, mask=there, other=0)
        other = tl.load(others_at + edge, mask=there, other=0)
        used = there[:, None] & inside
        weight = tl.load(weights_at + weight_row[:, None] * channels + channel, mask=used, other=0.0)
        total += weight * tl.load(values_at + other[:, None] * channels + channel, mask=used, other=0.0)
    tl.store(out_at + row * channels + channel, tl.sum(total, 0)[None, :], mask=inside)


@triton.jit(do_not_specialize=CHANGING)
def _pull(
    gradients_at, values_at, senders_at, receivers_at, first_at, opposite_at, out_at,
    count, edges, channels, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * EDGES + tl.arange(0, EDGES)
    channel = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    there = place < count
    used = there[:, None] & (channel < channels)
    edge = place
    if first_at is not None:
        edge = tl.load(first_at + place, mask=there, other=0)
    product = _product(gradients_at, values_at, senders_at, receivers_at, edge, there, channel, used, channels)
    if first_at is not None:
        back = tl.load(opposite_at + edge, mask=there, other=0)
        both = there & (back < edges) & (back != edge)  # the edge that leads back is among them, and another
        used = both[:, None] & (channel < channels)
        product += _product(gradients_at, values_at, senders_at, receivers_at, back, both, channel, used, channels)
    tl.store(out_at + place[:, None] * channels + channel, product, mask=there[:, None] & (channel < channels))


@triton.jit
def _product(gradients_at, values_at, senders_at, receivers_at, edge, there, channel, used, channels):
    """Of gradients at receivers and values at senders."""
    sender = tl.load(senders_at + edge, mask=there, other=0)[:, None]
    receiver = tl.load(receivers_at + edge, mask=there, other=0)[:, None]
    value = tl.load(values_at + sender * channels + channel, mask=used, other=0.0)
    return value * tl.load(gradients_at + receiver * channels + channel, mask=used, other=0.0)
