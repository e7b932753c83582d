"""Dense layers without offsets, and what is made of them. All of them keep the variance of what they are given."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

#: The mean square of silu(x) over normal x, to the power of -1/2, as GemNet has it.
_GAIN = 1.0 / 0.6


def active(x: Tensor) -> Tensor:
    """silu(x)/0.6, [...] → [...]."""
    return silu(x) * _GAIN


def joined(*terms: Tensor) -> Tensor:
    """The sum of terms over the root of their number, [...] → [...]."""
    return sum(terms[1:], terms[0]) * (1.0 / math.sqrt(len(terms)))


def linear(inputs: int, outputs: int, *, share: float = 1.0) -> nn.Linear:
    """A dense layer without offsets, whose outputs are of the size of its inputs.

    Args:
        inputs: C.
        outputs: D.
        share: of the variance of what its output is added to.
    """
    layer = nn.Linear(inputs, outputs, bias=False, dtype=torch.float64)
    nn.init.normal_(layer.weight, std=math.sqrt(share / inputs))
    return layer


@final
class Dense(nn.Module):
    """A dense layer and the activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., D]."""
        return active(self.linear(x))


@final
class Residual(nn.Module):
    """(x + f(x))/√2 with two dense layers; Gasteiger et al. (2021), appendix."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first, self.second = Dense(features, features), Dense(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., C]."""
        return joined(x, self.second(self.first(x)))


@final
class Residuals(nn.Module):
    """Residual layers, after a dense one where features change their number.

    Args:
        inputs: C.
        features: D.
        count: of residual layers.
    """

    def __init__(self, inputs: int, features: int, count: int) -> None:
        super().__init__()
        self.into = Dense(inputs, features) if inputs != features else None
        self.layers = nn.ModuleList(Residual(features) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., D]."""
        x = x if self.into is None else self.into(x)
        for layer in self.layers:
            x = layer(x)
        return x


@final
class Scale(nn.Module):
    """A number that was fitted once so that variances stay as they are; it is not trained."""

    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """[...] → [...]."""
        return x * self.factor
