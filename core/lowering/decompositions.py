"""How operations and their derivatives are spelled out when a program is traced."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, decomposition_table

from halocline.lowering.derivatives import diagonal, diagonal_backward, select_backward, slice_backward

_aten = torch.ops.aten

#: Operations that torch counts among the core ones, and that it can say in simpler ones itself.
_SPELLED_OUT: Final = (
    _aten._log_softmax.default,
    _aten._softmax.default,
    _aten.elu.default,
    _aten.gelu.default,
    _aten.hardtanh.default,
    _aten.leaky_relu.default,
    _aten.linalg_vector_norm.default,
    _aten.repeat.default,
)

#: Derivatives that scatter, where torch's compilers know better and nothing is lost.
_KEPT: Final = (_aten.index_add.default, _aten.index_add_.default)


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Core operations, with some differences, so that every backend has few operations to know.

    What takes apart, joins or normalises becomes slices, concatenations and sums. Derivatives of slices are
    concatenations with zeros, where torch would write into a tensor of zeros. Flat edges keep ``index_add``, which
    torch's compilers know and which loses nothing there.
    """
    table: dict[Any, Callable[..., Any]] = {**core_aten_decompositions()}
    for kept in _KEPT:
        table.pop(kept, None)
    return table | {operation: decomposition_table[operation] for operation in _SPELLED_OUT} | _OURS


def _split(x: Tensor, sizes: Sequence[int], dim: int = 0) -> list[Tensor]:
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return [_aten.slice.Tensor(x, dim, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _pad(x: Tensor, pad: Sequence[int], value: float = 0.0) -> Tensor:
    """Numbers of values to add before and behind, from the last dimension on; negative ones take values away."""
    for place, dim in enumerate(range(x.ndim - 1, x.ndim - 1 - len(pad) // 2, -1)):
        before, behind = pad[2 * place : 2 * place + 2]
        if before < 0 or behind < 0:
            x = _aten.slice.Tensor(x, dim, max(0, -before), x.shape[dim] - max(0, -behind))
        parts = [_filled(x, dim, before, value), x, _filled(x, dim, behind, value)]
        kept = [part for part in parts if part is not None]
        x = torch.cat(kept, dim) if len(kept) > 1 else x
    return x


def _filled(x: Tensor, dim: int, size: int, value: float) -> Tensor | None:
    shape = list(x.shape)
    shape[dim] = size
    return x.new_full(shape, value) if size > 0 else None


def _roll(x: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor:
    if not dims:
        return _roll(x.reshape(-1), shifts, (0,)).reshape(x.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        cut = x.shape[dim] - shift % x.shape[dim]
        x = torch.cat([_aten.slice.Tensor(x, dim, cut), _aten.slice.Tensor(x, dim, 0, cut)], dim)
    return x


def _cross(first: Tensor, second: Tensor, *, dim: int = -1) -> Tensor:
    first, second = torch.broadcast_tensors(first, second)  # type: ignore[no-untyped-call]
    a, b = first.unbind(dim), second.unbind(dim)
    return torch.stack([a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)], dim)


def _variance(
    x: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False
) -> Tensor:
    dims = list(range(x.ndim)) if not dim else list(dim)
    count = math.prod(x.shape[each] for each in dims)
    centred = x - x.mean(dims, keepdim=True)
    return (centred * centred).sum(dims, keepdim=keepdim) / (count - (1 if correction is None else correction))


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    dims = list(range(x.ndim - len(shape), x.ndim))
    mean = x.mean(dims, keepdim=True)
    centred = x - mean
    scale = torch.rsqrt((centred * centred).mean(dims, keepdim=True) + eps)
    result = centred * scale
    result = result if weight is None else result * weight
    return (result if bias is None else result + bias), mean, scale


_OURS: Final[dict[Any, Callable[..., Any]]] = {
    _aten.constant_pad_nd.default: _pad,
    _aten.diagonal.default: diagonal,
    _aten.diagonal_backward.default: diagonal_backward,
    _aten.exp2.default: lambda x: torch.exp(x * math.log(2.0)),
    _aten.hypot.default: lambda x, y: torch.sqrt(x * x + y * y),
    _aten.isnan.default: lambda x: x != x,
    _aten.linalg_cross.default: _cross,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.pow.Scalar: lambda base, x: torch.exp(x * math.log(base)) if base > 0 else NotImplemented,
    _aten.roll.default: _roll,
    _aten.select_backward.default: select_backward,
    _aten.slice_backward.default: slice_backward,
    _aten.split_with_sizes.default: _split,
    _aten.var.correction: _variance,
}
