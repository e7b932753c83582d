"""Weights of messages as functions of the distance: smooth Bessel functions, a network, and half a cosine.

The cosine has a slope of zero at the cutoff, and a second derivative that jumps there; published models have it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from halocline.aggregation import RadialFunction
from halocline.graph.graph import COINCIDENT
from halocline.plugins.backbones.m3gnet.radial import SmoothBessel
from halocline.plugins.backbones.tensornet.config import TensorNetConfig


@final
class Weights(RadialFunction):
    """Three weights of each channel, one for each part of a tensor, part after part.

    Args:
        config: of the model.
        hidden: whether there is a network, of two hidden layers and SiLU after all three, or one linear map.
    """

    start = COINCIDENT  # sin(x)/x is not asked for at 0

    def __init__(self, config: TensorNetConfig, *, hidden: bool) -> None:
        super().__init__()
        self.end, self.channels, self.hidden = config.cutoff, 3 * config.features, hidden
        self.basis = SmoothBessel(config.radial, config.cutoff)
        between = [config.features, 2 * config.features] if hidden else []
        self.layers = nn.ModuleList(
            nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise([config.radial, *between, self.channels])
        )

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """See `RadialFunction.forward`."""
        del numbers
        values = self.basis(distances)
        for layer in self.layers:
            values = silu(layer(values)) if self.hidden else layer(values)
        half = 0.5 * torch.cos(distances * (math.pi / self.end)) + 0.5
        result: Tensor = values * (half * (distances < self.end).to(half.dtype))[..., None]
        return result
