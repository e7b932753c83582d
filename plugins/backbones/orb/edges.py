"""What is known of an edge from its vector: functions of its length, and its direction."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.plugins.backbones.orb.config import BESSELS, GAUSSIANS, MAX_DEGREE, ORBConfig
from halocline.plugins.equivariance import spherical_harmonics

#: Å, between the centres of Gaussians, whose width is fixed.
_SPACING = 0.5


@final
class GaussianEdges(nn.Module):
    """exp(-(r - μ_n)²) at μ_n = n/2 Å, r in Å, n < 20, and the direction; version 2."""

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        centres = _SPACING * torch.arange(GAUSSIANS, dtype=torch.float64)
        self.register_buffer("centres", centres, persistent=False)

    def forward(self, lengths: Tensor, directions: Tensor) -> Tensor:
        """Lengths [...] in Å and unit vectors [..., 3] → [..., 23]."""
        distances = lengths[..., None] - self.centres
        return torch.cat([torch.exp(-distances * distances), directions], dim=-1)


@final
class BesselEdges(nn.Module):
    """envelope(r) · √(2/r_c) sin(nπr/r_c)/r · Y_lm of the direction, n ≤ 8, l ≤ 3; version 3.

    Harmonics are normalised to Σ_m Y_lm² = 2l + 1. Frequencies and the factor are kept with the weights, as
    published weights were fitted to constants of their precision.

    Args:
        cutoff: r_c, Å.
    """

    frequencies: Tensor
    factor: Tensor

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        frequencies = torch.arange(1, BESSELS + 1, dtype=torch.float64) * (math.pi / cutoff)
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("factor", torch.tensor(math.sqrt(2.0 / cutoff), dtype=torch.float64))

    def forward(self, lengths: Tensor, directions: Tensor) -> Tensor:
        """Lengths [...] in Å and unit vectors [..., 3] → [..., 128]."""
        r = lengths[..., None]
        waves = torch.sin(r * self.frequencies) / r * (self.factor * envelope(r, self.cutoff))
        return (waves[..., :, None] * spherical_harmonics(directions, MAX_DEGREE)[..., None, :]).flatten(-2)


def edge_functions(config: ORBConfig) -> nn.Module:
    """Those of a version."""
    return GaussianEdges() if config.version == 2 else BesselEdges(config.cutoff)


def directions_of(block: Block, lengths: Tensor) -> Tensor:
    """Unit vectors [..., 3] from senders to receivers; zero where padded."""
    return -block.vectors / lengths[..., None]


def envelope(distances: Tensor, cutoff: float) -> Tensor:
    """1 - 15x⁴ + 24x⁵ - 10x⁶ for x = r/r_c < 1, and 0 beyond: like ``distances``.

    Smooth to the second derivative. J. Gasteiger, J. Groß and S. Günnemann, ICLR 2020, eq. 8 with p = 4.
    """
    x = distances / cutoff
    return (1.0 + x**4 * (-15.0 + x * (24.0 - 10.0 * x))) * (distances < cutoff).to(x.dtype)
