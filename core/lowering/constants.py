"""Constants of a traced graph: numbers that must keep their precision, tensors that need a name.

Exporters write a Python float as a float32 constant whatever surrounds it, so that π/6 in a float64 program loses
half of its digits. Here every number that float32 does not hold exactly becomes a buffer in the program's
precision.
"""

from __future__ import annotations

import struct
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from halocline.errors import LoweringError
from halocline.program import Precision
from halocline.program.operators import registered

_aten = torch.ops.aten

#: Operations that make a tensor of one repeated number; the number's place among the arguments.
_FILLS = {_aten.full.default: 1, _aten.full_like.default: 1}


def lift_constants(graph: fx.GraphModule, precision: Precision, backbone: str) -> None:
    """Turn inexact numbers into buffers, and weights into buffers named ``constant_0``, ….

    Raises:
        LoweringError: an operation takes an inexact number in a place where no tensor fits.
    """
    lifter = _Lifter(graph, precision)
    for node in list(graph.graph.nodes):
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        # A scalar that is a free size stays: it is computed when the program runs.
        if node.target is _aten.scalar_tensor.default and isinstance(node.args[0], (int, float)):
            lifter.replace_scalar(node, node.args[0])
        elif any(_inexact(argument) for argument in node.args):
            if node.target in _FILLS:
                lifter.replace_fill(node, _FILLS[node.target])
            else:
                lifter.replace_operand(node, node.target)
    _require_exact(graph, backbone)
    _name_buffers(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()


class _Lifter:
    """Rewrites the nodes of one graph."""

    def __init__(self, graph: fx.GraphModule, precision: Precision) -> None:
        self.graph, self.precision = graph, precision
        self.lifted: dict[tuple[float, torch.dtype], str] = {}

    def constant(self, before: fx.Node, number: float, dtype: torch.dtype) -> fx.Node:
        """A node that reads a 0-d buffer; equal numbers share one."""
        key = (number, dtype)
        if key not in self.lifted:
            self.lifted[key] = f"number_{len(self.lifted)}"
            self.graph.register_buffer(self.lifted[key], torch.tensor(number, dtype=dtype))
        with self.graph.graph.inserting_before(before):
            node = self.graph.graph.get_attr(self.lifted[key])
        node.meta["val"] = getattr(self.graph, self.lifted[key])
        return node

    def replace_scalar(self, node: fx.Node, number: float) -> None:
        """``scalar_tensor``, which some compilers lack, exact or not."""
        dtype = node.meta["val"].dtype
        node.replace_all_uses_with(self.constant(node, number, dtype))
        self.graph.graph.erase_node(node)

    def replace_fill(self, node: fx.Node, place: int) -> None:
        """A tensor full of one number: of ones, times the number."""
        value = node.args[place]
        assert isinstance(value, float)
        number = self.constant(node, value, node.meta["val"].dtype)
        node.args = (*node.args[:place], 1.0, *node.args[place + 1 :])
        with self.graph.graph.inserting_after(node):
            product = self.graph.graph.call_function(_aten.mul.Tensor, (node, number))
        product.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(product, delete_user_cb=lambda user: user is not product)

    def replace_operand(self, node: fx.Node, operation: torch._ops.OpOverload[..., Any]) -> None:
        """Arithmetic with a number: the same with a 0-d tensor, where one fits."""
        places = [place for place, argument in enumerate(node.args) if _inexact(argument)]
        replacement = _overload_with_tensors(operation, places)
        if replacement is None:
            return
        value = node.meta["val"]
        dtype = value.dtype if value.is_floating_point() else self.precision.torch
        node.args = tuple(
            self.constant(node, argument, dtype) if isinstance(argument, float) and place in places else argument
            for place, argument in enumerate(node.args)
        )
        node.target = replacement


def _overload_with_tensors(operation: torch._ops.OpOverload[..., Any], places: list[int]) -> Any:
    """The operation, or another overload of it, that takes tensors in these places; None if there is none."""
    packet = operation.overloadpacket
    others = [getattr(packet, name) for name in ("Tensor", "Tensor_Tensor") if name in packet.overloads()]
    for overload in (operation, *others):
        arguments = overload._schema.arguments
        if all(str(arguments[place].type) in ("Tensor", "Optional[Tensor]") for place in places):
            return overload
    return None


def _require_exact(graph: fx.GraphModule, backbone: str) -> None:
    """No inexact number is left in any argument, but of registered operators: theirs are passed on as they are."""
    for node in graph.graph.nodes:
        if registered(node.target) is not None:
            continue
        for number in filter(_inexact, tree_leaves((node.args, node.kwargs))):
            raise LoweringError(
                f"The backbone {backbone!r} calls {node.target} with the number {number!r}, which compilers would "
                "round to float32; make the number a buffer of the module."
            )


def _inexact(argument: object) -> bool:
    """Whether float32 does not hold this number."""
    return isinstance(argument, float) and not _fits_float32(argument)


def _fits_float32(number: float) -> bool:
    try:
        return bool(struct.unpack("f", struct.pack("f", number))[0] == number or number != number)
    except OverflowError:
        return False


def _name_buffers(graph: fx.GraphModule) -> None:
    """Give weights and constants short names in the order of their use, one name for each tensor."""
    names: dict[int, str] = {}
    kept: dict[str, Tensor] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            tensor = getattr(graph, node.target)
            name = names.setdefault(id(tensor), f"constant_{len(names)}")
            kept[name] = tensor.detach()
            node.target = name
    for name in [*dict(graph.named_parameters()), *dict(graph.named_buffers()), *_plain_tensors(graph)]:
        delattr(graph, name)
    for name, tensor in kept.items():
        graph.register_buffer(name, tensor)


def _plain_tensors(graph: fx.GraphModule) -> list[str]:
    """Tensors that tracing left as plain attributes."""
    return [name for name, value in vars(graph).items() if isinstance(value, Tensor)]
