"""Compiled programs read sums after they are there, and the comparison that they go through sees it if not."""

import copy

import pytest
import torch
from torch._inductor.scheduler import SchedulerNode

from halocline.backends.torch.compiler import compiler_options, require_agreement, torch_warns_itself
from halocline.backends.torch.executor import TorchExecutor
from halocline.errors import ArtefactError
from halocline.lowering import lower
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.program import FrozenModel, Precision


def summed(index, weight, atoms, column):
    """What adds up the sums has one loop, and shares what it reads with what has two."""
    scaled = atoms * column[:, None]
    messages = torch.tanh(atoms.index_select(0, index)) @ weight
    sums = atoms.new_zeros(atoms.shape).scatter_add(0, index[:, None].expand_as(messages), messages)
    return atoms + sums, scaled


def reads(options, monkeypatch):
    """Names of what nodes read, before their loops are made those of another, and when all is compiled."""
    found, whole = [], SchedulerNode.recompute_size_and_body

    def recomputed(node, *arguments, **named):
        found.append((node, {read.name for read in node.read_writes.reads}))
        whole(node, *arguments, **named)

    monkeypatch.setattr(SchedulerNode, "recompute_size_and_body", recomputed)
    inputs = torch.arange(60) % 30, torch.randn(8, 8), torch.randn(30, 8), torch.randn(30)
    torch.compiler.reset()
    with torch_warns_itself(), torch.no_grad():
        torch.compile(summed, dynamic=True, options=options | {"fx_graph_cache": False})(*inputs)
    monkeypatch.undo()
    assert found
    return [before for _, before in found], [{read.name for read in node.read_writes.reads} for node, _ in found]


@pytest.mark.slow
def test_what_reads_sums_knows_them_by_their_new_names(monkeypatch):
    before, after = reads(compiler_options(), monkeypatch)
    assert before == after
    before, after = reads({}, monkeypatch)
    assert before != after  # else `reads_after_writes` is not needed any more


@pytest.mark.slow
def test_the_comparison_sees_sums_that_were_read_too_early():
    """Each sum in turn is what it was before anything was added."""
    config = registry().load("backbone", "escaip").example_config() | {"layers": 1}
    frozen = FrozenModel.freeze(
        build_backbone("escaip", config, seed=1), Precision.FLOAT32, TorchExecutor.capabilities, "cpu"
    )
    program = lower(frozen)
    sums = [node.name for node in program.graph.graph.nodes if node.target is torch.ops.aten.index_add.default]
    assert len(sums) > 10
    for name in sums:
        graph = copy.deepcopy(program.graph)
        (node,) = (node for node in graph.graph.nodes if node.name == name)
        node.replace_all_uses_with(node.args[0])
        graph.recompile()
        with pytest.raises(ArtefactError, match="compiles the program of 'escaip' wrongly"):
            require_agreement(program, graph, "cpu")
