"""A lowered graph made ready for torch's compiler."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Collection, Iterator
from itertools import combinations
from typing import Any

import torch
from torch import fx

from halocline.lowering import Manifest, Program
from halocline.lowering.arguments import size_family

_aten = torch.ops.aten

#: The size of all edges and pairs, by what those up to a hop level begin with; lists have the same name.
_WHOLE = {"e": "E", "p": "P"}


def compilable(program: Program, device: str) -> fx.GraphModule:
    """Copy a graph to a device, with sizes related, and sums in the form that compiles best.

    Inductor turns ``index_add`` into one atomic addition for each number, which is slow and, with several threads,
    adds in an order that changes from call to call. On CPUs it leaves ``scatter_add`` to torch's own kernel, which
    is quick and always adds in the same order.

    Args:
        program: on the CPU.
        device: where it is to run.
    """
    graph = copy.deepcopy(program.graph).to(device)
    _relate_sizes(graph.graph, program.manifest)
    for node in list(graph.graph.nodes):
        if "device" in node.kwargs:
            node.update_kwarg("device", torch.device(device))
        if node.target is _aten.index_add.default and not node.kwargs:
            _add_by_scatter(graph.graph, node)
    graph.recompile()
    return graph


def _relate_sizes(graph: fx.Graph, manifest: Manifest) -> None:
    """State which sizes are equal and which are not above others.

    Without this the compiler takes each to be free of the others, carries the smaller of two along wherever one is
    cut to another, takes many times as long, and compiles anew for parts without edges.
    """
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    sizes: dict[str, list[fx.Node]] = {}
    with graph.inserting_before(placeholders[-1].next):
        for node, value in zip(placeholders, manifest.inputs, strict=True):
            for place, name in enumerate(value.shape):
                if isinstance(name, str):
                    size = graph.call_function(_aten.sym_size.int, (node, place))
                    sizes.setdefault(name, []).append(size)
        relations: list[tuple[Callable[[Any, Any], Any], fx.Node, fx.Node]] = [
            (operator.eq, first, other) for first, *others in sizes.values() for other in others
        ]
        relations += [(operator.le, sizes[inner][0], sizes[outer][0]) for inner, outer in _nested(sizes)]
        for relation, *ends in relations:
            graph.call_function(torch._check, (graph.call_function(relation, tuple(ends)),))


def _nested(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Pairs of sizes whose first is not above the second: all of hop levels, as compilers do not conclude."""
    levels: dict[str, list[int]] = {}
    for name in names:
        family, level = size_family(name)
        if level is not None:
            levels.setdefault(family, []).append(level)
    for family, found in levels.items():
        chain, whole = [f"{family}_{level}" for level in sorted(found)], _WHOLE.get(family, family)
        yield from combinations([*chain, *([whole] if whole in names else [])], 2)


def _add_by_scatter(graph: fx.Graph, node: fx.Node) -> None:
    """Replace the addition of rows by that of single numbers."""
    total, dim, index, rows = node.args
    assert dim == 0
    with graph.inserting_before(node):
        indices = index
        if isinstance(rows, fx.Node) and rows.meta["val"].ndim > 1:
            column = graph.call_function(_aten.unsqueeze.default, (index, 1))
            indices = graph.call_function(_aten.expand_as.default, (column, rows))
        sums = graph.call_function(_aten.scatter_add.default, (total, 0, indices, rows))
    sums.meta["val"] = node.meta["val"]  # for sums of these sums
    node.replace_all_uses_with(sums)
    graph.erase_node(node)
