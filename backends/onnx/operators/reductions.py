"""Sums, means and extremes along dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import fx

from halocline.backends.onnx.translation import Translation, dtype_of

_aten = torch.ops.aten


def _reduction(operator: str) -> Callable[..., str]:
    def rule(
        t: Translation,
        node: fx.Node,
        values: fx.Node,
        dims: Sequence[int] | None = None,
        keepdim: bool = False,
        **_dtype: Any,
    ) -> str:
        axes = (t.builder.integers(*dims),) if dims else ()  # no axes: all of them, in torch and in ONNX
        return t.builder.emit(operator, t.tensor(values, dtype_of(node)), *axes, keepdims=int(keepdim))

    return rule


def _running_sum(t: Translation, node: fx.Node, values: fx.Node, dim: int, **_dtype: Any) -> str:
    return t.builder.emit("CumSum", t.tensor(values, dtype_of(node)), t.tensor(dim, torch.int64))


RULES: Final[dict[Any, Callable[..., str]]] = {
    _aten.sum.default: _reduction("ReduceSum"),
    _aten.sum.dim_IntList: _reduction("ReduceSum"),
    _aten.mean.default: _reduction("ReduceMean"),
    _aten.mean.dim: _reduction("ReduceMean"),
    _aten.amax.default: _reduction("ReduceMax"),
    _aten.amin.default: _reduction("ReduceMin"),
    _aten.cumsum.default: _running_sum,
}
