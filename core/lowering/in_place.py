"""Operations that write into their argument, which derivatives of torch leave behind, become ones that do not."""

from __future__ import annotations

import torch
from torch import fx


def replace_in_place(graph: fx.GraphModule) -> None:
    """Replace ``op_(x, …)`` by ``op(x, …)`` where nothing else reads x: there the two are the same.

    Others stay, and are refused with everything else that a program may not contain.
    """
    for node in graph.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
            continue
        (written, *_) = node.args
        name = node.target._schema.name.removeprefix("aten::")
        packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
        if packet is not None and isinstance(written, fx.Node) and set(written.users) == {node}:
            node.target = getattr(packet, node.target._overloadname)
    graph.recompile()
