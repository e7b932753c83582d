"""Convolutions with tables; see `halocline.plugins.fused.table_convolution`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from halocline.plugins.triton_operators.candidates import for_all_channels, for_some_channels
from halocline.plugins.triton_operators.launch import launch
from halocline.plugins.triton_operators.rows import CHANGING, components, length_of, row_range


def convolve_table(
    values: Tensor,
    vectors: Tensor,
    table: Tensor,
    grid: Tensor,
    others: Tensor,
    starts: Tensor,
    *back: Tensor | None,
) -> Tensor:
    """Σ w(r) v over the edges of each receiver, (n_out, C)."""
    del back
    rows, edges, channels = starts.shape[0], others.shape[0], values.shape[1]
    out = values.new_empty((rows, channels))
    launch(
        _convolve,
        [
            *(values.contiguous(), vectors.contiguous(), table.contiguous(), grid, others.contiguous()),
            *(starts.contiguous(), out, rows, edges, table.shape[0] // 4 - 2, channels, table.shape[1]),
        ],
        out,
        for_some_channels(channels),
        lambda blocks: (rows, triton.cdiv(channels, blocks["CHANNELS"])),
        about=(channels,),
        work=edges * channels,
    )
    return out


def pull_table(
    gradients: Tensor,
    values: Tensor,
    vectors: Tensor,
    table: Tensor,
    grid: Tensor,
    others: Tensor,
    starts: Tensor,
    order: Tensor | None,
    by_values: bool,
) -> tuple[Tensor, Tensor]:
    """What `convolve_table` owes to values and vectors."""
    rows, edges, channels = starts.shape[0], others.shape[0], values.shape[1]
    vectors = vectors.contiguous()
    pulls, by_vectors = (torch.empty_like(values.contiguous()) if by_values else None), torch.empty_like(vectors)
    launch(
        _pull,
        [
            *(gradients.contiguous(), values.contiguous(), vectors, table.contiguous(), grid),
            *(others.contiguous(), starts.contiguous(), None if order is None else order.contiguous()),
            *(pulls, by_vectors, rows, edges, table.shape[0] // 4 - 2, channels, table.shape[1]),
        ],
        by_vectors,
        for_all_channels(channels),
        lambda blocks: (rows,),
        about=(channels, by_values),
        work=edges * channels,
    )
    return values.new_empty((0, channels)) if pulls is None else pulls, by_vectors


@triton.jit(do_not_specialize=CHANGING)
def _convolve(
    values_at, vectors_at, table_at, grid_at, others_at, starts_at, out_at,
    rows, edges, intervals, channels, width, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    channel = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    inside = channel < channels
    begin, end = row_range(starts_at, row, rows, edges)
    total = tl.zeros((EDGES, CHANNELS), dtype=out_at.dtype.element_ty)
    for first in range(begin, end, EDGES):
        edge = first + tl.arange(0, EDGES)
        there = edge < end
        x, y, z = components(vectors_at, edge, there)
        interval, offset = _place(length_of(x, y, z), grid_at, intervals)
        other = tl.load(others_at + edge, mask=there, other=0)[:, None]
        used = there[:, None] & inside
        weight, _ = _looked_up(table_at, interval[:, None], offset[:, None], width, channel, used)
        total += weight * tl.load(values_at + other * channels + channel, mask=used, other=0.0)
    tl.store(out_at + row * channels + channel, tl.sum(total, 0)[None, :], mask=inside)


@triton.jit(do_not_specialize=CHANGING)
def _pull(
    gradients_at, values_at, vectors_at, table_at, grid_at, others_at, starts_at, order_at,
    by_values_at, by_vectors_at, rows, edges, intervals, channels, width,
    EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, CHANNELS)[None, :]
    inside = channel < channels
    own = tl.load(values_at + row * channels + channel, mask=inside, other=0.0)
    begin, end = row_range(starts_at, row, rows, edges)
    total = tl.zeros((EDGES, CHANNELS), dtype=by_vectors_at.dtype.element_ty)
    for first in range(begin, end, EDGES):
        place = first + tl.arange(0, EDGES)
        there = place < end
        edge = place
        if order_at is not None:
            edge = tl.load(order_at + place, mask=there, other=0)
        x, y, z = components(vectors_at, edge, there)
        length = length_of(x, y, z)
        interval, offset = _place(length, grid_at, intervals)
        other = tl.load(others_at + edge, mask=there, other=0)[:, None]
        used = there[:, None] & inside
        weight, slope = _looked_up(table_at, interval[:, None], offset[:, None], width, channel, used)
        gradient = tl.load(gradients_at + other * channels + channel, mask=used, other=0.0)
        by_offset = tl.sum(slope * (gradient * own), 1)
        scale = by_offset * tl.load(grid_at + 1) / length
        tl.store(by_vectors_at + 3 * edge, scale * x, mask=there)
        tl.store(by_vectors_at + 3 * edge + 1, scale * y, mask=there)
        tl.store(by_vectors_at + 3 * edge + 2, scale * z, mask=there)
        if by_values_at is not None:
            total += weight * gradient
    if by_values_at is not None:
        tl.store(by_values_at + row * channels + channel, tl.sum(total, 0)[None, :], mask=inside)


@triton.jit
def _place(length, grid_at, intervals):
    """The interval of lengths, and how far they are into it."""
    at = (length - tl.load(grid_at)) * tl.load(grid_at + 1)
    # NaN is beyond the end, and stays NaN in the offset.
    interval = tl.where(at < intervals, tl.floor(tl.maximum(at, 0.0)), intervals * 1.0)
    return interval.to(tl.int32), at - interval


@triton.jit
def _looked_up(table_at, interval, offset, width, channel, used):
    """Values of polynomials, and their derivatives by the offset: Horner's scheme on its intermediate values."""
    coefficients = table_at + interval.to(tl.int64) * 4 * width + channel
    c0 = tl.load(coefficients, mask=used, other=0.0)
    c1 = tl.load(coefficients + width, mask=used, other=0.0)
    c2 = tl.load(coefficients + 2 * width, mask=used, other=0.0)
    c3 = tl.load(coefficients + 3 * width, mask=used, other=0.0)
    second = c3 * offset + c2
    first = second * offset + c1
    return first * offset + c0, (c3 * offset + second) * offset + first
