"""Perceptrons and the norm that EScAIP is made of."""

from __future__ import annotations

from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

#: Added to mean squares: the smallest step of float32 at 1, which upstream has in float32, where it is trained.
TINY: Final = 2.0**-23


@final
class Norm(nn.Module):
    """Features over the root of their mean square, with a weight each; B. Zhang and R. Sennrich, NeurIPS 2019."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., C]."""
        return x / ((x * x).mean(-1, keepdim=True) + TINY).sqrt() * self.weight


@final
class FeedForward(nn.Module):
    """A hidden layer with GELU.

    Args:
        features: C.
        multiplier: width of the hidden layer, of C.
    """

    def __init__(self, features: int, multiplier: int) -> None:
        super().__init__()
        self.hidden = linear(features, multiplier * features)
        self.out = linear(multiplier * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., C]."""
        result: Tensor = self.out(gelu(self.hidden(x)))
        return result


@final
class Residual(nn.Module):
    """x + f(N(x)) with a perceptron f."""

    def __init__(self, features: int, multiplier: int) -> None:
        super().__init__()
        self.norm = Norm(features)
        self.ffn = FeedForward(features, multiplier)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., C]."""
        result: Tensor = x + self.ffn(self.norm(x))
        return result


@final
class Head(nn.Module):
    """A few numbers of features: a perceptron, then a linear map.

    Args:
        features: C.
        multiplier: width of the hidden layer, of C.
        outputs: D.
    """

    def __init__(self, features: int, multiplier: int, outputs: int) -> None:
        super().__init__()
        self.ffn = FeedForward(features, multiplier)
        self.out = linear(features, outputs, bias=False)
        for each in (self.ffn.hidden, self.ffn.out, self.out):
            nn.init.xavier_uniform_(each.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., D]."""
        result: Tensor = self.out(self.ffn(x))
        return result


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A dense layer in float64, whose offsets begin at zero."""
    layer = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
