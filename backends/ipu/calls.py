"""Calls of ATen operations, in the words of a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.node import map_arg

from halocline.errors import LoweringError

_aten = torch.ops.aten

#: Operations that make a tensor from sizes and numbers alone. PopTorch would look for it on the CPU and fail; in a
#: program it is a constant.
FACTORIES: Final = frozenset(
    {"full", "full_like", "new_full", "zeros", "zeros_like", "new_zeros", "ones", "ones_like", "new_ones"}
    | {"arange", "scalar_tensor"}
)


def is_factory(node: fx.Node) -> bool:
    """Whether a call makes a tensor from sizes and numbers alone."""
    return isinstance(node.target, OpOverload) and node.target._schema.name.removeprefix("aten::") in FACTORIES


def plain_call(node: fx.Node) -> tuple[OpOverload, tuple[Any, ...], dict[str, Any]]:
    """The call of a node, without names of casts that PopTorch lacks.

    Raises:
        LoweringError: it calls something else than an ATen operation.
    """
    target, args, kwargs = node.target, node.args, dict(node.kwargs)
    if not isinstance(target, OpOverload):
        raise LoweringError(f"The program calls {target}, which is no ATen operation.")
    if target is _aten._to_copy.default:
        dtype = kwargs.pop("dtype", None)
        return (_aten.clone.default, args, {}) if dtype is None else (_aten.to.dtype, (*args, dtype), {})
    return target, args, kwargs


def takes_tensor(argument: Any) -> bool:
    """Whether an argument of a schema is one tensor."""
    return str(argument.type) in ("Tensor", "Optional[Tensor]")


def result_names(node: fx.Node) -> tuple[str, ...]:
    """A name for each tensor that a node returns."""
    value = node.meta["val"]
    return (node.name,) if isinstance(value, Tensor) else tuple(f"{node.name}_{i}" for i in range(len(value)))


def evaluate(node: fx.Node, known: Mapping[fx.Node, Tensor]) -> Tensor:
    """The value of a node that depends on known ones; of others only their shapes count."""

    def value(source: fx.Node) -> Tensor:
        if source in known:
            return known[source]
        shown = source.meta["val"]
        return torch.zeros([fixed_size(n) for n in shown.shape], dtype=shown.dtype)

    args, kwargs = map_arg((node.args, {k: v for k, v in node.kwargs.items() if k != "device"}), value)
    operation: Any = node.target
    with torch.no_grad():
        result: Tensor = operation(*args, **kwargs)
    return result.contiguous()


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a dtype without ``torch.``, such as ``float32``."""
    return str(dtype).removeprefix("torch.")


def fixed_size(size: Any) -> int:
    """A size that is a number.

    Raises:
        LoweringError: it is free.
    """
    if not isinstance(size, int):
        raise LoweringError("Programs for IPUs have fixed sizes; lower the model with a capacity.")
    return size
