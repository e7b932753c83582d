"""A lowered graph made ready for torch's compiler."""

from __future__ import annotations

import copy

import torch
from torch import fx

_aten = torch.ops.aten


def compilable(graph: fx.GraphModule, device: str) -> fx.GraphModule:
    """Copy a graph to a device, with its sums in the form that compiles best.

    Inductor turns ``index_add`` into one atomic addition for each number, which is slow and, with several threads,
    adds in an order that changes from call to call. On CPUs it leaves ``scatter_add`` to torch's own kernel, which
    is quick and always adds in the same order.

    Args:
        graph: as lowered, on the CPU.
        device: where it is to run.
    """
    graph = copy.deepcopy(graph).to(device)
    for node in list(graph.graph.nodes):
        if "device" in node.kwargs:
            node.update_kwarg("device", torch.device(device))
        if node.target is _aten.index_add.default and not node.kwargs:
            _add_by_scatter(graph.graph, node)
    graph.recompile()
    return graph


def _add_by_scatter(graph: fx.Graph, node: fx.Node) -> None:
    """Replace the addition of rows by that of single numbers."""
    total, dim, index, rows = node.args
    assert dim == 0
    with graph.inserting_before(node):
        column = graph.call_function(_aten.unsqueeze.default, (index, 1))
        indices = graph.call_function(_aten.expand_as.default, (column, rows))
        sums = graph.call_function(_aten.scatter_add.default, (total, 0, indices, rows))
    node.replace_all_uses_with(sums)
    graph.erase_node(node)
