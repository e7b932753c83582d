"""Gated multi-layer perceptrons, plain and on edges."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from halocline.aggregation import Block


@final
class GatedMLP(nn.Module):
    """g(x) · σ(x): two perceptrons side by side, with swish between layers and a sigmoid at the end of σ.

    Args:
        sizes: channels in, hidden, ..., out.
        bias: whether layers have offsets.
        activate: whether g ends in a swish.
    """

    def __init__(self, sizes: list[int], *, bias: bool = True, activate: bool = True) -> None:
        super().__init__()
        self.values = _layers(sizes, bias=bias)
        self.gates = _layers(sizes, bias=bias)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """The product of both perceptrons, [..., C_in] → [..., C_out]."""
        return gated(x, x, self.values, self.gates, activate=self.activate)


@final
class EdgeMLP(nn.Module):
    """The gated perceptron of [v_centre, v_end, e]; eq. 4 and 5.

    The first layer is linear in what it joins: the shares of atoms are computed once for each atom and gathered,
    instead of once for each edge.

    Args:
        features: channels C of atoms and of edges.
        hidden: channels of the layers after the first, ..., out.
    """

    def __init__(self, features: int, hidden: list[int]) -> None:
        super().__init__()
        self.units = hidden[0]
        first = 2 * self.units
        self.centre = _linear(features, first, bias=False)
        self.end = _linear(features, first, bias=False)
        self.edge = _linear(features, first)
        self.values, self.gates = _layers(hidden, bias=True), _layers(hidden, bias=True)

    def forward(self, block: Block, x_NC: Tensor, e_C: Tensor) -> Tensor:
        """Atoms (N, C) and edges [..., C] → [..., C_out]."""
        joint = self.edge(e_C) + block.at_receivers(self.centre(x_NC)) + block.at_senders(self.end(x_NC))
        both = silu(joint)
        return gated(both[..., : self.units], both[..., self.units :], self.values, self.gates, activate=True)


def gated(
    values: Tensor, gates: Tensor, value_layers: nn.ModuleList, gate_layers: nn.ModuleList, *, activate: bool
) -> Tensor:
    """Both perceptrons, from wherever their inputs come."""
    for layer in value_layers[:-1]:
        values = silu(layer(values))
    for layer in gate_layers[:-1]:
        gates = silu(layer(gates))
    values = value_layers[-1](values)
    return (silu(values) if activate else values) * torch.sigmoid(gate_layers[-1](gates))


def _layers(sizes: list[int], *, bias: bool) -> nn.ModuleList:
    return nn.ModuleList(_linear(a, b, bias=bias) for a, b in pairwise(sizes))


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
