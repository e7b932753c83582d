"""Rows, slices and elements of a tensor, and tensors put together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import fx

from halocline.backends.onnx.translation import Translation, dtype_of
from halocline.errors import LoweringError

_aten = torch.ops.aten


def _rows(t: Translation, node: fx.Node, values: fx.Node, dim: int, index: fx.Node) -> str:
    del node
    return t.builder.emit("Gather", t.tensor(values), t.tensor(index), axis=dim)


def _embedding(t: Translation, node: fx.Node, table: fx.Node, index: fx.Node, *_training: Any) -> str:
    return _rows(t, node, table, 0, index)


def _index(t: Translation, node: fx.Node, values: fx.Node, indices: Sequence[fx.Node | None]) -> str:
    """Indexing with one tensor of integers, such as ``values[:, index]``."""
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if len(given) != 1 or dtype_of(given[0][1]) is not torch.int64:
        raise LoweringError(
            f"ONNX models index with one tensor of integers at a time; {node.format_node()} does not."
        )
    return _rows(t, node, values, *given[0])


def _select(t: Translation, node: fx.Node, values: fx.Node, dim: int, index: int) -> str:
    del node
    return t.builder.emit("Gather", t.tensor(values), t.tensor(index, torch.int64), axis=dim)


def _gather(t: Translation, node: fx.Node, values: fx.Node, dim: int, index: fx.Node, **_options: Any) -> str:
    del node
    return t.builder.emit("GatherElements", t.tensor(values), t.tensor(index), axis=dim)


def _slice(
    t: Translation,
    node: fx.Node,
    values: fx.Node,
    dim: int = 0,
    start: Any = None,
    end: Any = None,
    step: int = 1,
) -> str:
    del node
    start, end = 0 if start is None else start, sys.maxsize if end is None else end
    if (start, end, step) == (0, sys.maxsize, 1):
        return t.tensor(values)
    bounds = (t.size(start), t.size(end), t.builder.integers(dim), t.builder.integers(step))
    return t.builder.emit("Slice", t.tensor(values), *bounds)


def _flip(t: Translation, node: fx.Node, values: fx.Node, dims: Sequence[int]) -> str:
    """Backwards from the last to before the first, which ONNX calls the smallest number."""
    del node
    ends, count = t.builder.integers, len(dims)
    bounds = (ends(*[-1] * count), ends(*[-sys.maxsize] * count), ends(*dims), ends(*[-1] * count))
    return t.builder.emit("Slice", t.tensor(values), *bounds) if dims else t.tensor(values)


def _concatenate(t: Translation, node: fx.Node, tensors: Sequence[fx.Node], dim: int = 0) -> str:
    dtype = dtype_of(node)
    return t.builder.emit("Concat", *(t.tensor(each, dtype) for each in tensors), axis=dim)


RULES: Final[dict[Any, Callable[..., str]]] = {
    _aten.index_select.default: _rows,
    _aten.embedding.default: _embedding,
    _aten.index.Tensor: _index,
    _aten.select.int: _select,
    _aten.gather.default: _gather,
    _aten.slice.Tensor: _slice,
    _aten.cat.default: _concatenate,
    _aten.flip.default: _flip,
}
