"""Read and add up rows, whatever trailing axes they have.

Kernels for matrices are several times faster than those for more axes, so that further ones are flattened.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def take(values: Tensor, index: Tensor) -> Tensor:
    """Rows (I, *) of values (R, *), by number (I,)."""
    if values.ndim <= 2:
        return values.index_select(0, index)
    return values.flatten(1).index_select(0, index).view(index.shape[0], *values.shape[1:])


def add_up(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """Sums (rows, *) of values (I, *), by the number of the row that each goes to, (I,)."""
    flat = values if values.ndim <= 2 else values.flatten(1)
    total = flat.new_zeros((rows, *flat.shape[1:])).index_add(0, index, flat)
    return total if values.ndim <= 2 else total.view(rows, *values.shape[1:])


def weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Values [..., *] times weights [...]."""
    return values * weights[(..., *(None,) * (values.ndim - weights.ndim))]


def prefix(values: Tensor, rows: int) -> Tensor:
    """Keep the first ``rows`` rows.

    A plain slice would differentiate to ``slice_scatter``, which fixed-shape compilers do not have.
    """
    if isinstance(rows, int) and rows == values.shape[0]:
        return values
    return _Prefix.apply(values, rows)  # type: ignore[no-any-return, no-untyped-call]


class _Prefix(torch.autograd.Function):
    """Rows cut off receive zeros; both directions are differentiable again."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: int) -> Tensor:
        ctx.cut = values.shape[0] - rows
        return values[:rows]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        zeros = gradient.new_zeros((ctx.cut, *gradient.shape[1:]))
        return torch.cat([gradient, zeros]), None
