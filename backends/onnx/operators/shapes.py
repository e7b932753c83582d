"""New shapes for old values, and tensors full of one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from onnx import helper
from torch import fx

from halocline.backends.onnx.translation import ELEMENT_TYPES, Translation, dtype_of, rank_of

_aten = torch.ops.aten


def _same(t: Translation, node: fx.Node, values: fx.Node, **_layout: Any) -> str:
    del node
    return t.tensor(values)


def _reshape(t: Translation, node: fx.Node, values: fx.Node, sizes: Sequence[Any]) -> str:
    del node
    return t.builder.emit("Reshape", t.tensor(values), t.shape(sizes), allowzero=1)


def _expand(t: Translation, node: fx.Node, values: fx.Node, sizes: Sequence[Any], **_options: Any) -> str:
    """Repeat dimensions of size 1; torch writes -1 where ONNX writes 1, for dimensions that stay."""
    del node
    return t.builder.emit("Expand", t.tensor(values), t.shape([1 if _stays(size) else size for size in sizes]))


def _stays(size: Any) -> bool:
    return isinstance(size, int) and size == -1


def _permute(t: Translation, node: fx.Node, values: fx.Node, order: Sequence[int]) -> str:
    del node
    return t.builder.emit("Transpose", t.tensor(values), perm=[dim % len(order) for dim in order])


def _unsqueeze(t: Translation, node: fx.Node, values: fx.Node, dim: int) -> str:
    del node
    return t.builder.emit("Unsqueeze", t.tensor(values), t.builder.integers(dim))


def _squeeze(t: Translation, node: fx.Node, values: fx.Node, dims: int | Sequence[int]) -> str:
    """Drop dimensions of size 1. torch keeps those of other sizes, so only the ones that it dropped are named."""
    dims = [dims] if isinstance(dims, int) else list(dims)
    if rank_of(node) == rank_of(values):
        return t.tensor(values)
    return t.builder.emit("Squeeze", t.tensor(values), t.builder.integers(*dims))


def _full(t: Translation, node: fx.Node, sizes: Sequence[Any], number: float, **_placement: Any) -> str:
    return _filled(t, node, t.shape(sizes), number)


def _full_like(t: Translation, node: fx.Node, values: fx.Node, number: float, **_placement: Any) -> str:
    return _filled(t, node, t.builder.emit("Shape", t.tensor(values)), number)


def _empty(t: Translation, node: fx.Node, sizes: Sequence[Any], *_order: Any, **_placement: Any) -> str:
    """Only its shape is read, so zeros will do."""
    return _filled(t, node, t.shape(sizes), 0)


def _range(t: Translation, node: fx.Node, start: Any, end: Any, step: float = 1, **_placement: Any) -> str:
    dtype = dtype_of(node)
    return t.builder.emit("Range", *(t.tensor(each, dtype) for each in (start, end, step)))


def _filled(t: Translation, node: fx.Node, shape: str, number: float) -> str:
    element = helper.make_tensor("value", ELEMENT_TYPES[dtype_of(node)], [1], [number])
    return t.builder.emit("ConstantOfShape", shape, value=element)


def _scalar(t: Translation, node: fx.Node, number: Any, **_placement: Any) -> str:
    """A number or a size as a 0-d tensor."""
    return t.tensor(number, dtype_of(node))


RULES: Final[dict[Any, Callable[..., str]]] = {
    _aten.alias.default: _same,
    _aten.arange.start_step: _range,
    _aten.clone.default: _same,
    _aten.detach.default: _same,
    _aten.empty_permuted.default: _empty,
    _aten.lift_fresh_copy.default: _same,
    _aten.view.default: _reshape,
    _aten._unsafe_view.default: _reshape,
    _aten.expand.default: _expand,
    _aten.permute.default: _permute,
    _aten.unsqueeze.default: _unsqueeze,
    _aten.squeeze.dim: _squeeze,
    _aten.squeeze.dims: _squeeze,
    _aten.full.default: _full,
    _aten.full_like.default: _full_like,
    _aten.scalar_tensor.default: _scalar,
}
