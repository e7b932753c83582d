"""Functions of lengths and angles. Their frequencies were fitted with the weights."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

#: Cosines are shrunk by this before the angle is taken, so that straight angles have a derivative. Part of the
#: function that published weights were fitted to.
STRAIGHT = 1.0 - 1e-6


@final
class RadialBasis(nn.Module):
    """√(2/r_c) sin(f_n r/r_c)/r times an envelope, n < B; Deng et al., eq. 6 to 8.

    Args:
        count: B.
        cutoff: r_c, Å.
        exponent: of the envelope.
    """

    def __init__(self, count: int, cutoff: float, exponent: int) -> None:
        super().__init__()
        self.cutoff, self.exponent = cutoff, exponent
        self.frequencies = nn.Parameter(math.pi * torch.arange(1, count + 1, dtype=torch.float64))

    def forward(self, distances: Tensor) -> Tensor:
        """All functions at distances [...] in Å: [..., B]."""
        r = distances[..., None]
        waves = torch.sin(r / self.cutoff * self.frequencies) / r
        return waves * (math.sqrt(2.0 / self.cutoff) * envelope(r, self.cutoff, self.exponent))


@final
class AngularBasis(nn.Module):
    """1/√2, sin(f_n θ) and cos(f_n θ) over √π, n ≤ (A - 1)/2; Deng et al., eq. 9.

    Args:
        count: A, an odd number.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.arange(1, (count + 1) // 2, dtype=torch.float64))

    def forward(self, cosines: Tensor) -> Tensor:
        """All functions at cosines [...] of angles: [..., A]."""
        turns = torch.acos(cosines * STRAIGHT)[..., None] * self.frequencies
        constant = torch.full_like(turns[..., :1], math.sqrt(0.5))
        return torch.cat([constant, torch.sin(turns), torch.cos(turns)], dim=-1) / math.sqrt(math.pi)


def envelope(distances: Tensor, cutoff: float, exponent: int) -> Tensor:
    """1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2) for x = r/r_c < 1, and 0 beyond: [...].

    Smooth to the second derivative. J. Gasteiger, J. Groß and S. Günnemann, ICLR 2020, eq. 8.
    """
    p, x = exponent, distances / cutoff
    last = -0.5 * (p + 1) * (p + 2) + x * (p * (p + 2) - 0.5 * p * (p + 1) * x)
    return (1.0 + x**p * last) * (distances < cutoff).to(x.dtype)
