"""Operations that write into their argument, which derivatives of torch leave behind, become ones that do not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx


def replace_in_place(graph: fx.GraphModule) -> None:
    """Replace ``op_(x, …)`` by ``op(x, …)``, whose result is read wherever x was read later on.

    That is the same where x has memory of its own and nobody looks at it through a view. Elsewhere the operation
    stays, and is refused with everything else that a program may not contain.
    """
    order = {node: place for place, node in enumerate(graph.graph.nodes)}
    for node in list(graph.graph.nodes):
        if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
            continue
        (written, *_) = node.args
        if not isinstance(written, fx.Node) or not _is_new(written) or any(map(_is_view, written.users)):
            continue
        result = _without_writing(node, written)
        if result is not None:
            for reader in list(written.users):
                if order[reader] > order[node]:
                    reader.replace_input_with(written, result)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _without_writing(node: fx.Node, written: fx.Node) -> fx.Node | None:
    """The value that the operation leaves in ``written``, made without writing; None if there is no way."""
    name = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    if name == "copy_":
        source = node.args[1]
        if not isinstance(source, fx.Node) or not _are_alike(source.meta["val"], written.meta["val"]):
            return None
        node.replace_all_uses_with(source)
        node.graph.erase_node(node)
        return source
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    overload = node.target._overloadname  # type: ignore[union-attr]
    if packet is None or overload not in packet.overloads():
        return None
    node.target = getattr(packet, overload)
    return node


def _are_alike(first: Any, second: Any) -> bool:
    """Whether two tensors have one dtype and, for all that is known of them, one shape."""
    return isinstance(first, Tensor) and first.dtype == second.dtype and list(first.shape) == list(second.shape)


def _is_new(node: fx.Node) -> bool:
    """Whether a value has memory of its own: it is no input, no weight and no view."""
    return isinstance(node.target, torch._ops.OpOverload) and not _is_view(node)


def _is_view(node: fx.Node) -> bool:
    """Whether a value shares memory with an argument that it does not write to."""
    if not isinstance(node.target, torch._ops.OpOverload) or node.target._schema.is_mutable:
        return False
    return any(result.alias_info is not None for result in node.target._schema.returns)
