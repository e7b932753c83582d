"""Matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import fx

from halocline.backends.onnx.translation import Translation

_aten = torch.ops.aten


def _product(t: Translation, node: fx.Node, left: fx.Node, right: fx.Node) -> str:
    del node
    return t.builder.emit("MatMul", t.tensor(left), t.tensor(right))


def _affine(
    t: Translation,
    node: fx.Node,
    offset: fx.Node,
    left: fx.Node,
    right: fx.Node,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> str:
    """``beta`` offset + ``alpha`` left · right."""
    del node
    operands = (t.tensor(left), t.tensor(right), t.tensor(offset))
    return t.builder.emit("Gemm", *operands, alpha=float(alpha), beta=float(beta))


RULES: Final[dict[Any, Callable[..., str]]] = {
    _aten.mm.default: _product,
    _aten.bmm.default: _product,
    _aten.addmm.default: _affine,
}
