"""What may stand in a program: checked on every graph, so that no compiler has to be trusted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from halocline.aggregation import Form
from halocline.errors import LoweringError
from halocline.program import FrozenModel
from halocline.program.operators import CustomOperator, registered

#: Operations that write to computed places. ONNX Runtime adds in a race, TensorRT and PopTorch drop the addition.
SCATTERS = frozenset({
    "scatter", "scatter_add", "scatter_reduce", "masked_scatter", "slice_scatter", "select_scatter",
    "diagonal_scatter", "as_strided_scatter", "index_put", "index_add", "index_copy", "put",
})  # fmt: skip

#: Where torch keeps operations of its own.
NAMESPACES = frozenset({"aten", "prim", "prims"})

#: Operations whose result has a size that depends on values, or that are random.
UNPREDICTABLE = frozenset({
    "nonzero", "unique", "_unique2", "unique_consecutive", "masked_select", "_local_scalar_dense", "item",
    "rand", "randn", "randint", "randperm", "random", "uniform", "normal", "bernoulli", "multinomial",
    "native_dropout",
})  # fmt: skip


def check_rules(graph: fx.GraphModule, frozen: FrozenModel, *, doubles: bool) -> None:
    """Look at every operation and every dtype.

    Args:
        graph: as traced.
        frozen: its form and precision decide what is allowed.
        doubles: float64 is allowed beside float32.

    Raises:
        LoweringError: the first thing that is not allowed, by name.
    """
    allowed = {frozen.precision.torch, torch.int64, torch.bool} | ({torch.float64} if doubles else set())
    for node in graph.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            _check_operation(node.target, frozen)
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dtype not in allowed:
            raise LoweringError(
                f"The backbone {frozen.backbone.name!r} computes {node.name!r} ({node.target}) in "
                f"{str(value.dtype).removeprefix('torch.')}, in a program of {frozen.precision.value}; stages "
                "must compute in the dtype of their inputs and weights."
            )


def custom_operators(graph: fx.GraphModule) -> tuple[CustomOperator, ...]:
    """The operators of plugins that a graph calls, each once."""
    found = [registered(node.target) for node in graph.graph.nodes]
    return tuple(dict.fromkeys(operator for operator in found if operator is not None))


def _check_operation(operation: torch._ops.OpOverload[..., Any], frozen: FrozenModel) -> None:
    name = operation._schema.name.removeprefix("aten::").rstrip("_")
    if operation._schema.is_mutable:
        raise LoweringError(
            f"The backbone {frozen.backbone.name!r} uses {operation}, which writes into a tensor that is read "
            "elsewhere; use the operation that returns a new one."
        )
    namespace = operation._schema.name.partition("::")[0]
    if namespace not in NAMESPACES and registered(operation) is None:
        raise LoweringError(
            f"The backbone {frozen.backbone.name!r} uses {operation}, an operator of which nothing is known; "
            "register its version and its definition with halocline.program.operators.register_operator."
        )
    forbidden = UNPREDICTABLE | (SCATTERS if frozen.form is Form.TABLE else frozenset())
    if name in forbidden:
        raise LoweringError(
            f"The backbone {frozen.backbone.name!r} uses {operation}, which programs in {frozen.form.value} "
            "form cannot have; gather and sum with the block's operations, and slice without strides."
        )
