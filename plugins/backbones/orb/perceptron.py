"""Perceptrons of either version, and how they are normalised."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

#: What layer normalisation adds to a variance.
_TINY = 1e-5


@final
class Perceptron(nn.Module):
    """Dense layers with an activation between them.

    Args:
        sizes: channels of the input, of hidden layers and of the output.
        version: of ORB: 2 has the shifted softplus ln(½ + ½eˣ), 3 has SiLU.
    """

    def __init__(self, sizes: tuple[int, ...], version: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise(sizes))
        self.activation = shifted_softplus if version == 2 else silu

    def forward(self, x: Tensor) -> Tensor:
        """[..., A] → [..., B]."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        result: Tensor = self.layers[-1](x)
        return result


@final
class Update(nn.Module):
    """A perceptron with two hidden layers, whose result is normalised.

    Args:
        inputs: channels.
        hidden: channels of both hidden layers.
        outputs: channels.
        version: of ORB.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, version: int) -> None:
        super().__init__()
        self.perceptron = Perceptron((inputs, hidden, hidden, outputs), version)
        self.norm: nn.Module = LayerNorm(outputs) if version == 2 else RootMeanSquareNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., A] → [..., B]."""
        result: Tensor = self.norm(self.perceptron(x))
        return result


@final
class LayerNorm(nn.Module):
    """Channels less their mean, over their standard deviation; Ba, Kiros and Hinton, arXiv:1607.06450."""

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
class RootMeanSquareNorm(nn.Module):
    """Channels over their root mean square; B. Zhang and R. Sennrich, NeurIPS 2019, arXiv:1910.07467.

    What keeps it from dividing by zero is the rounding unit of the dtype, as torch has it by default.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., C]."""
        mean = (x * x).mean(-1, keepdim=True)
        return x / (mean + torch.finfo(x.dtype).eps).sqrt() * self.weight


def shifted_softplus(x: Tensor) -> Tensor:
    """ln(½ + ½eˣ), [...], without overflow."""
    magnitude = torch.abs(x)
    return torch.log1p(torch.exp(-magnitude)) + 0.5 * (x + magnitude) - math.log(2.0)
