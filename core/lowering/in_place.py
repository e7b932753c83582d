"""Operations that write into their argument, which derivatives of torch leave behind, become ones that do not."""

from __future__ import annotations

import torch
from torch import fx


def replace_in_place(graph: fx.GraphModule) -> None:
    """Replace ``op_(x, …)`` by ``op(x, …)`` where nothing else sees x: there the two are the same.

    Where x is an input, a weight or a view, or is read by others, the operation stays, and is refused with
    everything else that a program may not contain.
    """
    for node in graph.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
            continue
        (written, *_) = node.args
        name = node.target._schema.name.removeprefix("aten::")
        packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
        if (
            packet is not None
            and isinstance(written, fx.Node)
            and set(written.users) == {node}
            and _is_new(written)
        ):
            node.target = getattr(packet, node.target._overloadname)
    graph.recompile()


def _is_new(node: fx.Node) -> bool:
    """Whether a value has memory of its own: it is no input, no weight and no view."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return all(result.alias_info is None for result in node.target._schema.returns)
