"""What each kind of module takes of an evaluation of M3GNet, derivatives included."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from halocline.aggregation import Block, Form
from halocline.graph import NeighbourList, Structure
from halocline.model import Backbone
from halocline.partition import whole
from halocline.program import Capabilities, FrozenModel, Precision, ProgramInputs, energies_and_gradients
from halocline.program.evaluate import atom_energies
from halocline.program.layout import lay_out

#: Modules of a layer, and what they are called in the table.
KINDS = {"three_body": "three-body", "edge_update": "edge update", "atom_update": "atom update"}

#: The median of so many repetitions counts.
REPEATS = 5


def prepared(backbone: Backbone, structure: Structure) -> tuple[FrozenModel, ProgramInputs]:
    """The program of a whole structure in float32, and its inputs."""
    graph = NeighbourList(backbone.neighbours).graph(structure)
    frozen = FrozenModel.freeze(backbone, Precision.FLOAT32, Capabilities.reference(Form.EDGES))
    part = whole(len(structure), graph.edges, backbone.hops)
    return frozen, lay_out(graph, part, Form.EDGES, Precision.FLOAT32)


def shares(backbone: Backbone, structure: Structure) -> dict[str, float]:
    """Kind of module → part of the time of a whole evaluation; ``rest`` is what remains.

    Each module is called once more with the arguments that it had, and its output differentiated by them.
    """
    frozen, inputs = prepared(backbone, structure)
    total = _seconds(lambda: energies_and_gradients(frozen.backbone, inputs))
    taken: dict[str, float] = defaultdict(float)
    for name, module, arguments in _calls(frozen.backbone, inputs):
        taken[KINDS[name]] += _seconds(lambda m=module, a=arguments: _differentiate(m, a)) / total
    return dict(taken) | {"rest": 1.0 - sum(taken.values())}


def _calls(backbone: Backbone, inputs: ProgramInputs) -> list[tuple[str, nn.Module, tuple[Any, ...]]]:
    """Name, module and arguments of every call of a module among `KINDS`."""
    calls: list[tuple[str, nn.Module, tuple[Any, ...]]] = []
    with ExitStack() as hooks:
        for layer in backbone.layers:
            for name in KINDS:
                note = partial(_note, calls, name)
                hooks.callback(getattr(layer, name).register_forward_pre_hook(note).remove)
        atom_energies(backbone, inputs, inputs.vectors.detach().requires_grad_(True))
    return calls


def _note(calls: list[Any], name: str, module: nn.Module, arguments: tuple[Any, ...]) -> None:
    calls.append((name, module, arguments))


def _differentiate(module: nn.Module, arguments: tuple[Any, ...]) -> None:
    """Evaluate and differentiate by the arguments; features are cut off from what made them."""
    given = [a.detach().requires_grad_() if isinstance(a, Tensor) else a for a in arguments]
    output = module(*given)
    wanted = [a.vectors if isinstance(a, Block) else a for a in given]
    torch.autograd.grad(output.sum(), wanted, retain_graph=True, allow_unused=True)


def _seconds(work: Callable[[], object]) -> float:
    work()
    taken = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return median(taken)
