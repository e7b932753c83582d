"""Which neighbours count, and how much: a smooth maximum of the rank at both ends and of the distance.

All of it is differentiable, so that forces follow from it.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.plugins.backbones.escaip.config import EScAIPConfig
from halocline.plugins.equivariance import spherical_harmonics

#: Neighbours this far out, of 1, have no weight that any float could tell from zero: exp(-x²/(1-x²)) = e^-5000.
OUT = 0.9999

#: Below its square root an order counts as that. Part of upstream's function.
LEAST_SQUARE = 1e-6


@final
class Ranks(nn.Module):
    """The envelope of each edge, and the orders of each atom."""

    def __init__(self, config: EScAIPConfig) -> None:
        super().__init__()
        self.capacity, self.nearest, self.cutoff = config.capacity, config.nearest, config.cutoff
        self.softness, self.sharpness = config.softness, config.sharpness
        self.smooth, self.orders = config.smooth, config.orders

    def extents(self, outer: Block, block: Block) -> Tensor:
        """X of each edge of a block, which counts where that is below 1: [...].

        x = t log Σ exp(·/t) over the rank at either end over k, and the distance over the cutoff.

        Args:
            outer: the block before, whose receivers this one reads.
            block: of the edges.
        """
        own = self.rows_of_lengths(outer)
        lengths = block.lengths()
        here = self.rank(lengths, *(block.at_receivers(each) for each in own))
        there = self.rank(lengths, *(block.at_senders(each) for each in own))
        parts = torch.stack([here / self.nearest, there / self.nearest, lengths / self.cutoff], -1)
        return self.sharpness * torch.logsumexp(parts / self.sharpness, -1)

    def rows_of_lengths(self, block: Block) -> tuple[Tensor, Tensor]:
        """Lengths of the edges of each atom side by side, (n, k) in Å, and whether there is an edge."""
        lengths = block.lengths()
        return block.rows(lengths, self.capacity), block.rows(torch.ones_like(lengths), self.capacity)

    def rank(self, lengths: Tensor, others: Tensor, there: Tensor) -> Tensor:
        """Σ_k s(r - r_k) of lengths [...] among those of an atom [..., k], itself included at 0 Å."""
        among = self.step(lengths[..., None] - others) * there
        return among.sum(-1) + self.step(lengths)

    def step(self, differences: Tensor) -> Tensor:
        """From 0 to 1, of differences in Å; 0 and 1 beyond π times the softness.

        Upstream's is a sine, whose second derivative jumps at its ends. The polynomial has three derivatives.
        """
        t = (0.5 + differences * (0.5 / (math.pi * self.softness))).clamp(0.0, 1.0)
        if not self.smooth:
            return 0.5 + 0.5 * torch.sin((t - 0.5) * math.pi)
        return t**4 * (35.0 + t * (-84.0 + t * (70.0 - 20.0 * t)))

    def orders_of(self, block: Block, extents: Tensor) -> Tensor:
        """√(Σ_m |mean Y_lm|² / (2l + 1)) of each receiver, (n, L); the atom itself is one of its neighbours.

        P. J. Steinhardt, D. R. Nelson and M. Ronchetti, Phys. Rev. B 28, 784 (1983), up to constants. With smooth
        weights no root has a kink.
        """
        directions = block.vectors / block.lengths()[..., None]
        harmonics = spherical_harmonics(directions, self.orders - 1)
        weight = weights(extents, smooth=self.smooth)
        count = 1.0 + block.sum(weight)
        means = block.sum(harmonics * weight[..., None]) / count[:, None]
        columns = [torch.ones_like(count)]
        for degree in range(1, self.orders):
            part = means[:, degree * degree : (degree + 1) ** 2]
            square = (part * part).sum(-1) / (2 * degree + 1)
            columns.append((square + LEAST_SQUARE if self.smooth else at_least(square, LEAST_SQUARE)).sqrt())
        return torch.stack(columns, -1)


def log_envelope(extents: Tensor) -> Tensor:
    """-x²/(1 - x²), the logarithm of the envelope: [...] → [...]."""
    squares = at_most(extents, OUT).square()
    return -squares / (1.0 - squares)


def at_least(values: Tensor, bound: float) -> Tensor:
    """Values, or a positive bound where it is larger. An IPU's clamp takes numbers that any float has exactly."""
    return (values * (1.0 / bound)).clamp(min=1.0) * bound


def at_most(values: Tensor, bound: float) -> Tensor:
    """Values, or a positive bound where it is smaller; see `at_least`."""
    return (values * (1.0 / bound)).clamp(max=1.0) * bound


def weights(extents: Tensor, *, smooth: bool) -> Tensor:
    """Of neighbours where they are added up: the envelope, or one where it is not zero. [...] → [...]."""
    return torch.exp(log_envelope(extents)) if smooth else (extents < 1.0).to(extents.dtype)
