"""How much forces change when a channel is taken away, to first order.

Scale what reads a channel c by 1 - s. The forces F then change by -s ∂F/∂g_c, where g_c is a gate of the channel,
and ∂F/∂g_c = Σ_w w ∂F/∂w over the weights w that read it. The importance of a channel is the mean square of that
change: what its removal adds to the squared error of forces in the Gauss-Newton approximation, for which no labels
are needed. P. Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, take the
first-order term of the loss, which vanishes on average where a model is well trained.

The square of a gradient of a vector is the mean over random directions v of the squares of ∂(v·F)/∂g_c, each of
which takes one derivative for all channels.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from halocline.aggregation import Form
from halocline.graph import Graph
from halocline.model import Backbone, Output
from halocline.model.chain import chain
from halocline.model.channels import Channels
from halocline.partition.part import whole
from halocline.program import EdgeInputs, Precision, energies_and_gradients
from halocline.program.geometry import forces_from_gradients
from halocline.program.layout import lay_out

#: Random directions of forces for each structure. Channels add up over all atoms of all structures.
DIRECTIONS: Final = 2

#: Structures that stand in for real ones: random chains of the model's elements, loose and dense.
SPACINGS: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
ATOMS: Final = 24


def stand_ins(backbone: Backbone) -> list[Graph]:
    """Structures to look at a model with where none are given; spacings are in units of its cutoff."""
    return [chain(backbone, ATOMS, seed, spacing) for seed, spacing in enumerate(SPACINGS)]


def importances(backbone: Backbone, graphs: Sequence[Graph], seed: int = 0) -> list[Tensor]:
    """The importance of each channel.

    Args:
        backbone: in float64; stays as it is.
        graphs: of structures, with the model's neighbours.
        seed: of the directions.

    Returns:
        For each of ``backbone.channels`` (size,), (eV/Å)² for each atom.
    """
    copied = copy.deepcopy(backbone).requires_grad_(True)
    weights = dict(copied.named_parameters(remove_duplicate=False))
    generator = torch.Generator().manual_seed(seed)
    found = [torch.zeros(each.size, dtype=torch.float64) for each in copied.channels]
    for graph in graphs:
        forces = _forces(copied, graph)
        for _ in range(DIRECTIONS):
            direction = torch.randn(forces.shape, generator=generator, dtype=torch.float64)
            changes = _changes((forces * direction).sum() / len(forces) ** 0.5, weights)
            for each, so_far in zip(copied.channels, found, strict=True):
                so_far += _sums(changes, each) ** 2
    return [each / (DIRECTIONS * len(graphs)) for each in found]


def _sums(changes: Mapping[str, Tensor], channels: Channels) -> Tensor:
    """Of what reads each channel, (size,)."""
    return torch.stack([place.of(changes, channels.size).sum(1) for place in channels.read]).sum(0)


def _forces(backbone: Backbone, graph: Graph) -> Tensor:
    """(N, 3) eV/Å, differentiable by the weights."""
    part = whole(len(graph.structure), graph.edges, backbone.hops)
    inputs = lay_out(graph, part, Form.EDGES, Precision.FLOAT64)
    assert isinstance(inputs, EdgeInputs)
    outputs = energies_and_gradients(backbone, inputs, differentiable=True)
    if not backbone.derives_forces:
        return outputs.others[backbone.outputs.index(Output.FORCES) - 1]
    return forces_from_gradients(outputs.gradients, inputs.receivers, inputs.senders, len(graph.structure))


def _changes(value: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each weight times the derivative of a value by it; zeros where it does not depend on that."""
    gradients = torch.autograd.grad(
        value, list(weights.values()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return {name: gradient * weights[name].detach() for name, gradient in zip(weights, gradients, strict=True)}
