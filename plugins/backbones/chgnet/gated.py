"""Gated perceptrons whose first layer is linear in what it joins, and the normalisation of channels.

The shares of atoms and bonds in the first layer are computed once for each of them and gathered, instead of once
for each message.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from halocline.aggregation import Block
from halocline.aggregation.sets import TripletBlock
from halocline.plugins.backbones.chgnet.config import CHGNetConfig

#: Added to variances; torch's own default, which upstream has.
_TINY = 1e-5


@final
class ChannelNorm(nn.Module):
    """Channels less their mean, over their standard deviation, with a weight and an offset each.

    J. L. Ba, J. R. Kiros and G. E. Hinton, arXiv:1607.06450.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(channels, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., C]."""
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred * centred).mean(-1, keepdim=True)
        return centred / (variance + _TINY).sqrt() * self.weight + self.bias


@final
class Gate(nn.Module):
    """silu(g) σ(h) of two perceptrons, from their joint first layer on.

    Args:
        config: of the model.
        hidden: whether another layer follows the first.
    """

    def __init__(self, config: CHGNetConfig, *, hidden: bool) -> None:
        super().__init__()
        channels = config.features
        self.values: nn.Module = linear(channels, channels) if hidden else nn.Identity()
        self.gates: nn.Module = linear(channels, channels) if hidden else nn.Identity()
        self.value_norm: nn.Module = ChannelNorm(channels) if config.norm else nn.Identity()
        self.gate_norm: nn.Module = ChannelNorm(channels) if config.norm else nn.Identity()
        self.hidden, self.channels = hidden, channels

    def forward(self, joint: Tensor) -> Tensor:
        """The first layers of g and of h, side by side, [..., 2C] → [..., C]."""
        joint = silu(joint) if self.hidden else joint
        values, gates = joint[..., : self.channels], joint[..., self.channels :]
        return silu(self.value_norm(self.values(values))) * torch.sigmoid(self.gate_norm(self.gates(gates)))


@final
class AtomMessages(nn.Module):
    """The gated perceptron of [v_i, e_ij, v_j]; Deng et al., eq. 2."""

    def __init__(self, config: CHGNetConfig) -> None:
        super().__init__()
        channels = config.features
        self.centre = linear(channels, 2 * channels, bias=False)
        self.end = linear(channels, 2 * channels, bias=False)
        self.edge = linear(channels, 2 * channels)
        self.gate = Gate(config, hidden=True)

    def forward(self, block: Block, x_NC: Tensor, e_C: Tensor) -> Tensor:
        """Atoms (N, C) and edges [..., C] → [..., C]."""
        ends = block.at_receivers(self.centre(x_NC)) + block.at_senders(self.end(x_NC))
        result: Tensor = self.gate(self.edge(e_C) + ends)
        return result


@final
class AngleMessages(nn.Module):
    """The gated perceptron of [e_ij, e_ik, a_ijk, v_i]; Deng et al., eq. 3 and 4.

    Args:
        config: of the model.
        hidden: whether the perceptrons have a hidden layer.
    """

    def __init__(self, config: CHGNetConfig, *, hidden: bool) -> None:
        super().__init__()
        channels = config.features
        self.written = linear(channels, 2 * channels)
        self.read = linear(channels, 2 * channels, bias=False)
        self.angle = linear(channels, 2 * channels, bias=False)
        self.centre = linear(channels, 2 * channels, bias=False)
        self.gate = Gate(config, hidden=hidden)

    def forward(self, bonds: Block, angles: TripletBlock, x_NC: Tensor, e_C: Tensor, a_C: Tensor) -> Tensor:
        """Atoms (N, C), bonds [..., C] and angles [..., +, C] → [..., +, C]."""
        here = self.written(e_C) + bonds.at_receivers(self.centre(x_NC))
        joint = angles.at_written(here) + angles.at_read(self.read(e_C)) + self.angle(a_C)
        result: Tensor = self.gate(joint)
        return result


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A dense layer in float64."""
    return nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
