"""What launches over edges share: block sizes, weights as kernels take them, and edges in other orders."""

from __future__ import annotations

from functools import cache
from typing import Final

import torch
from torch import Tensor
from triton import next_power_of_2

from halocline.plugins.fused.edge_library import Edges, Given, Table
from halocline.plugins.fused.edges import order_by_sender
from halocline.plugins.triton_operators.blocks import Blocks, distinct

#: Elements of a block and warps that work on it. Tens of values stay in registers for each element, of which a
#: thread therefore has one or two. As compilation takes seconds for each, they are few.
_SIZES: Final = ((128, 4), (256, 8), (256, 4))


@cache
def blocks_of(channels: int) -> tuple[Blocks, ...]:
    """For kernels whose programs work on all channels of some edges, with many values for each."""
    width = next_power_of_2(channels)
    found = [{"EDGES": max(size // width, 1), "CHANNELS": width, "num_warps": warps} for size, warps in _SIZES]
    return distinct(found)


def read_weights(weights: Table | Given, edges: Edges) -> list[Tensor | int | None]:
    """`Weights.ARGUMENTS` of kernels."""
    if isinstance(weights, Given):
        return [weights.values, weights.rows, None, 0, 0]
    _, functions, knots, *panel = weights.values.shape
    grid = _grid(weights.start, weights.per_length, weights.values.dtype, weights.values.device)
    return [
        weights.values,
        weights.numbers(edges),
        grid,
        knots,
        functions * knots * panel[0] * panel[1] * panel[2],
    ]


def by_row(weights: Given, edges: Edges) -> tuple[Tensor, Tensor]:
    """Edges in the order of the rows of given weights, and the place of the first of each row."""
    if weights.rows is not None:
        return order_by_sender(weights.rows, weights.values.shape[0])
    numbers = torch.arange(weights.values.shape[0], device=weights.values.device)
    return numbers, numbers


@cache
def _grid(start: float, per_length: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """As a tensor: Triton would round numbers to float32. Copied to the device once."""
    return torch.tensor([start, per_length], dtype=dtype, device=device)
