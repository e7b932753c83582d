"""Operations in place, which ONNX does not have; torch's derivative of ``clamp`` contains one."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from halocline.errors import LoweringError


def pure_target(node: fx.Node) -> Any:
    """What a node calls, or if it writes into its first argument, the same operation with a result of its own.

    Raises:
        LoweringError: the value that is overwritten may be read elsewhere.
    """
    operation = node.target
    if not isinstance(operation, OpOverload) or not operation._schema.is_mutable:
        return operation
    overwritten = node.args[0]
    if not (isinstance(overwritten, fx.Node) and list(overwritten.users) == [node] and _is_new(overwritten)):
        raise LoweringError(
            f"The ONNX backend cannot translate {operation}, which overwrites a value that is read elsewhere; "
            "write the stage without operations in place."
        )
    name = operation._schema.name.removeprefix("aten::").removesuffix("_")
    return getattr(getattr(torch.ops.aten, name), operation._overloadname)


def _is_new(node: fx.Node) -> bool:
    """Whether a value has memory of its own: it is no input, no weight and no view."""
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return False
    return all(result.alias_info is None for result in node.target._schema.returns)
