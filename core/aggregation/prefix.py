"""Cut a prefix of rows, with a gradient that is a concatenation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
