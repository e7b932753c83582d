"""The edges of each receiver side by side, and back: each way is the transpose of the other.

So derivatives of every order are reads alone. Scatters in their place are summed up wrongly by the code that
TorchInductor 2.13 makes of one after another.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from halocline.aggregation.rows import take


def to_rows(values: Tensor, edges: Tensor, slots: Tensor) -> Tensor:
    """Values of edges (E, *) → (n, k, *), zeros where there is no edge.

    Args:
        values: zero at padded edges.
        edges: (n, k) int64, which edge is in each slot; E where there is none.
        slots: (E,) int64, in which of the n · k slots each edge is.
    """
    return _ToRows.apply(values, edges, slots)  # type: ignore[no-any-return, no-untyped-call]


def from_rows(rows: Tensor, edges: Tensor, slots: Tensor) -> Tensor:
    """Values (n, k, *) of slots → those of edges, (E, *); see `to_rows`."""
    return _FromRows.apply(rows, edges, slots)  # type: ignore[no-any-return, no-untyped-call]


class _ToRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, edges: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(edges, slots)
        padded = torch.cat([values, values.new_zeros((1, *values.shape[1:]))])
        return take(padded, edges.reshape(-1)).view(*edges.shape, *values.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return from_rows(gradients[0], *ctx.saved_tensors), None, None


class _FromRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, edges: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(edges, slots)
        return take(rows.flatten(0, 1), slots)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return to_rows(gradients[0], *ctx.saved_tensors), None, None
