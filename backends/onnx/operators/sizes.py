"""Arithmetic with sizes, which are int64 vectors of length one."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import fx

from halocline.backends.onnx.translation import Translation


def _size(t: Translation, node: fx.Node, values: fx.Node, dim: int) -> str:
    del node
    return t.builder.emit("Shape", t.tensor(values), start=dim, end=dim + 1)


def _count(t: Translation, node: fx.Node, values: fx.Node) -> str:
    del node
    return t.builder.emit("Reshape", t.builder.emit("Size", t.tensor(values)), t.builder.integers(1))


def _integers(name: str) -> Callable[..., str]:
    def rule(t: Translation, node: fx.Node, first: Any, second: Any) -> str:
        del node
        return t.builder.emit(name, t.size(first), t.size(second))

    return rule


RULES: Final[dict[Any, Callable[..., str]]] = {
    torch.ops.aten.sym_numel.default: _count,
    torch.ops.aten.sym_size.int: _size,
    operator.add: _integers("Add"),
    operator.sub: _integers("Sub"),
    operator.mul: _integers("Mul"),
    operator.floordiv: _integers("Div"),  # sizes are not negative, where the two would round differently
}
