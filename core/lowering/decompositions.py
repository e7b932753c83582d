"""How derivatives are spelled out when a program is traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions

_aten = torch.ops.aten


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Core operations, with two differences.

    Derivatives of slices are concatenations with zeros, where torch would write into a tensor of zeros. Flat edges
    keep ``index_add``, which torch's compilers know and which loses nothing there.
    """
    table: dict[Any, Callable[..., Any]] = {**core_aten_decompositions()}
    for kept in (_aten.index_add.default, _aten.index_add_.default):
        table.pop(kept, None)
    table[_aten.slice_backward.default] = _slice_backward
    table[_aten.select_backward.default] = _select_backward
    return table


def _slice_backward(gradient: Tensor, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Tensor:
    """Zeros before and behind. Only slices of step 1 can be told so; others keep torch's own form."""
    if step != 1:
        zeros = gradient.new_zeros(sizes)
        return _aten.slice_scatter.default(zeros, gradient, dim, start, end, step)  # type: ignore[no-any-return]
    return _embed(gradient, sizes, dim, start if start >= 0 else start + sizes[dim])


def _select_backward(gradient: Tensor, sizes: Sequence[int], dim: int, index: int) -> Tensor:
    """A slice of one."""
    dim = dim % len(sizes)
    return _embed(gradient.unsqueeze(dim), sizes, dim, index if index >= 0 else index + sizes[dim])


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
