"""The three-body update of edges, without a list of triples.

For every edge from a centre i to j the update sums over all other edges from i to k (eq. 2 of the paper)

    s_ij,ln = f(r_ij) Σ_{k≠j} f(r_ik) R_ln(r_ik) Y_l0(cos θ_jik) g_k,ln .

By the addition theorem Y_l0(cos θ_jik) = √(4π/(2l + 1)) Σ_m Y_lm(r̂_ij) Y_lm(r̂_ik), so the sum over k is one moment
of the centre for each l, n and m, which all its edges share. The term k = j, with cos θ = 1, is taken off again.
Time and memory grow with the edges, not with their pairs.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.plugins.backbones.m3gnet.config import M3GNetConfig
from halocline.plugins.backbones.m3gnet.harmonics import spherical_harmonics
from halocline.plugins.backbones.m3gnet.mlp import GatedMLP
from halocline.plugins.backbones.m3gnet.radial import SmoothBessel, SphericalBessel, polynomial_envelope


@final
class ThreeBody(nn.Module):
    """e_ij + GatedMLP(s_ij).

    Shapes: N atoms read, n centres, C features, L degrees, R radial functions of each, [...] edges.
    """

    def __init__(self, config: M3GNetConfig) -> None:
        super().__init__()
        self.degrees, self.count, self.cutoff = config.max_l, config.max_n, config.threebody_cutoff
        channels = config.max_l * config.max_n
        self.gate_from_end = config.matgl
        self.gate = nn.Linear(config.features, channels, dtype=torch.float64)
        if config.matgl and config.radial == "smooth":
            self.radial: nn.Module = SmoothBessel(channels, config.cutoff)
        else:
            self.radial = SphericalBessel(config.max_l, config.max_n, config.cutoff)
        self.update = GatedMLP([channels, config.features], bias=False)

    def forward(self, block: Block, x_NC: Tensor, e_C: Tensor) -> Tensor:
        """Atoms (N, C) and edges [..., C] → edges [..., C]."""
        gates_NB = torch.sigmoid(self.gate(x_NC))
        gates = block.at_senders(gates_NB) if self.gate_from_end else block.at_receivers(gates_NB)
        envelope = block.radial(lambda r: polynomial_envelope(r, self.cutoff)[..., None])
        weights = block.radial(self.radial) * gates * envelope
        directions = block.vectors / block.lengths()[..., None]
        update: Tensor = self.update(self._sums(block, weights, directions) * envelope)
        return e_C + update

    def _sums(self, block: Block, weights: Tensor, directions: Tensor) -> Tensor:
        """Σ_{k≠j} of weights [..., L·R] times Y_l0(cos θ), [..., L·R]."""
        harmonics = spherical_harmonics(directions, self.degrees)
        shares = [weights[..., at : at + self.count] for at in range(0, self.degrees * self.count, self.count)]
        terms = [
            (share[..., :, None] * y[..., None, :]).flatten(-2) for share, y in zip(shares, harmonics, strict=True)
        ]
        moments = block.at_receivers(block.sum(torch.cat(terms, dim=-1)))
        sums, start = [], 0
        for degree, (share, y) in enumerate(zip(shares, harmonics, strict=True)):
            orders = 2 * degree + 1
            width = self.count * orders
            moment = moments[..., start : start + width]
            moment = moment.reshape(*moment.shape[:-1], self.count, orders)
            others = (moment * y[..., None, :]).sum(-1) - share * (y * y).sum(-1, keepdim=True)
            sums.append(others * math.sqrt(4.0 * math.pi / orders))
            start += width
        return torch.cat(sums, dim=-1)
