"""Derivatives of operations that take elements out: concatenations with zeros, where torch would scatter.

Each takes what torch's own one takes: the gradient, the sizes of what was taken from, and how it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_aten = torch.ops.aten


def slice_backward(gradient: Tensor, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Tensor:
    """Zeros before, behind and, for steps, between. Steps along free sizes keep torch's own form."""
    dim = dim % len(sizes)
    if step == 1:
        return _embed(gradient, sizes, dim, start if start >= 0 else start + sizes[dim])
    if not isinstance(sizes[dim], int):
        zeros = gradient.new_zeros(sizes)
        return _aten.slice_scatter.default(zeros, gradient, dim, start, end, step)  # type: ignore[no-any-return]
    start = max(0, start if start >= 0 else start + sizes[dim])
    shape = list(gradient.shape)
    steps = gradient.unsqueeze(dim + 1)
    between = gradient.new_zeros((*shape[: dim + 1], step - 1, *shape[dim + 1 :]))
    spread = torch.cat([steps, between], dim + 1).flatten(dim, dim + 1)
    fitting = min(spread.shape[dim], sizes[dim] - start)
    return _embed(_aten.slice.Tensor(spread, dim, 0, fitting), sizes, dim, start)


def select_backward(gradient: Tensor, sizes: Sequence[int], dim: int, index: int) -> Tensor:
    """The gradient by a tensor of which one index was selected: zeros elsewhere."""
    dim = dim % len(sizes)
    return _embed(gradient.unsqueeze(dim), sizes, dim, index if index >= 0 else index + sizes[dim])


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Main diagonals of square matrices of fixed size; others keep torch's own form."""
    last = x.movedim((dim1, dim2), (-2, -1))
    if offset or not isinstance(last.shape[-1], int) or last.shape[-1] != last.shape[-2]:
        return NotImplemented  # type: ignore[no-any-return]
    return torch.stack([last.select(-1, i).select(-1, i) for i in range(last.shape[-1])], -1)


def diagonal_backward(gradient: Tensor, sizes: Sequence[int], offset: int, dim1: int, dim2: int) -> Tensor:
    """The gradient by matrices of which `diagonal` was taken; others keep torch's own form."""
    size = sizes[dim1]
    if offset or not isinstance(size, int) or size != sizes[dim2]:
        return NotImplemented  # type: ignore[no-any-return]
    zeros = torch.zeros_like(gradient.select(-1, 0))
    rows = [
        torch.stack([gradient.select(-1, i) if i == j else zeros for j in range(size)], -1) for i in range(size)
    ]
    return torch.stack(rows, -2).movedim((-2, -1), (dim1, dim2))


def _embed(gradient: Tensor, sizes: Sequence[int], dim: int, start: int) -> Tensor:
    """Put a gradient at ``start`` among zeros."""
    rest = sizes[dim] - start - gradient.shape[dim]
    parts = [_zeros(gradient, dim, start), gradient, _zeros(gradient, dim, rest)]
    kept = [part for part in parts if part is not None]
    return kept[0] if len(kept) == 1 else torch.cat(kept, dim)


def _zeros(gradient: Tensor, dim: int, size: int) -> Tensor | None:
    """Zeros of this size along one direction; None if it is known to be zero."""
    if isinstance(size, int) and size == 0:
        return None
    shape = list(gradient.shape)
    shape[dim] = size
    return gradient.new_zeros(shape)
