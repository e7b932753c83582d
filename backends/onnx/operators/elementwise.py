"""Arithmetic, comparisons and functions of each element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import fx

from halocline.backends.onnx.translation import ELEMENT_TYPES, Translation, common_dtype, dtype_of

_aten = torch.ops.aten

#: One operand, one ONNX operator that ONNX Runtime has in float32 and float64; see `functions` for the others.
_UNARY = {
    _aten.abs.default: "Abs",
    _aten.ceil.default: "Ceil",
    _aten.cos.default: "Cos",
    _aten.exp.default: "Exp",
    _aten.floor.default: "Floor",
    _aten.log.default: "Log",
    _aten.logical_not.default: "Not",
    _aten.bitwise_not.default: "Not",
    _aten.neg.default: "Neg",
    _aten.reciprocal.default: "Reciprocal",
    _aten.relu.default: "Relu",
    _aten.round.default: "Round",
    _aten.sign.default: "Sign",
    _aten.sin.default: "Sin",
    _aten.sqrt.default: "Sqrt",
    _aten.tanh.default: "Tanh",
}

#: Two operands, one result in their common dtype.
_BINARY = {
    _aten.div.Scalar: "Div",
    _aten.div.Tensor: "Div",
    _aten.maximum.default: "Max",
    _aten.minimum.default: "Min",
    _aten.mul.Scalar: "Mul",
    _aten.mul.Tensor: "Mul",
    _aten.pow.Tensor_Scalar: "Pow",
    _aten.pow.Tensor_Tensor: "Pow",
}

#: Two operands, true or false.
_COMPARISONS = {
    "eq": "Equal",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "lt": "Less",
}

_LOGIC = {
    _aten.bitwise_and.Tensor: "And",
    _aten.bitwise_or.Tensor: "Or",
    _aten.bitwise_xor.Tensor: "Xor",
    _aten.logical_xor.default: "Xor",
    _aten.logical_and.default: "And",
    _aten.logical_or.default: "Or",
}


def _unary(operator: str) -> Callable[..., str]:
    def rule(t: Translation, node: fx.Node, values: fx.Node) -> str:
        return t.builder.emit(operator, t.tensor(values, dtype_of(node)))

    return rule


def _binary(operator: str) -> Callable[..., str]:
    def rule(t: Translation, node: fx.Node, first: Any, second: Any) -> str:
        dtype = dtype_of(node)
        # The product of two truth values is one.
        name = "And" if dtype is torch.bool and operator == "Mul" else operator
        return t.builder.emit(name, t.tensor(first, dtype), t.tensor(second, dtype))

    return rule


def _comparison(operator: str) -> Callable[..., str]:
    def rule(t: Translation, node: fx.Node, first: Any, second: Any) -> str:
        del node
        dtype = common_dtype(first, second)
        return t.builder.emit(operator, t.tensor(first, dtype), t.tensor(second, dtype))

    return rule


def _scaled(operator: str) -> Callable[..., str]:
    """Addition and subtraction, whose second operand torch may multiply by ``alpha``."""

    def rule(t: Translation, node: fx.Node, first: Any, second: Any, *, alpha: float = 1) -> str:
        dtype = dtype_of(node)
        other = t.tensor(second, dtype)
        if alpha != 1:
            other = t.builder.emit("Mul", other, t.tensor(alpha, dtype))
        return t.builder.emit(operator, t.tensor(first, dtype), other)

    return rule


def _not_equal(t: Translation, node: fx.Node, first: Any, second: Any) -> str:
    return t.builder.emit("Not", _comparison("Equal")(t, node, first, second))


def _clamp(t: Translation, node: fx.Node, values: fx.Node, low: Any = None, high: Any = None) -> str:
    dtype = dtype_of(node)
    result = t.tensor(values, dtype)
    if low is not None:
        result = t.builder.emit("Max", result, t.tensor(low, dtype))
    if high is not None:
        result = t.builder.emit("Min", result, t.tensor(high, dtype))
    return result


def _where(t: Translation, node: fx.Node, condition: fx.Node, first: Any, second: Any) -> str:
    dtype = dtype_of(node)
    return t.builder.emit("Where", t.tensor(condition), t.tensor(first, dtype), t.tensor(second, dtype))


def _cast(t: Translation, node: fx.Node, values: fx.Node, **_placement: Any) -> str:
    """A copy in another dtype; where it lies is the runtime's business."""
    if dtype_of(node) == dtype_of(values):
        return t.tensor(values)
    return t.builder.emit("Cast", t.tensor(values), to=ELEMENT_TYPES[dtype_of(node)])


RULES: Final[dict[Any, Callable[..., str]]] = {
    **{target: _unary(operator) for target, operator in _UNARY.items()},
    **{target: _binary(operator) for target, operator in (_BINARY | _LOGIC).items()},
    **{getattr(_aten, name).Scalar: _comparison(operator) for name, operator in _COMPARISONS.items()},
    **{getattr(_aten, name).Tensor: _comparison(operator) for name, operator in _COMPARISONS.items()},
    _aten.ne.Scalar: _not_equal,
    _aten.ne.Tensor: _not_equal,
    _aten.add.Scalar: _scaled("Add"),
    _aten.add.Tensor: _scaled("Add"),
    _aten.sub.Scalar: _scaled("Sub"),
    _aten.sub.Tensor: _scaled("Sub"),
    _aten.clamp.default: _clamp,
    _aten.clamp.Tensor: _clamp,
    _aten.where.self: _where,
    _aten._to_copy.default: _cast,
}
