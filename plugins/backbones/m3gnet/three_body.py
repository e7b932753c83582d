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
from halocline.plugins.backbones.m3gnet.mlp import GatedMLP
from halocline.plugins.backbones.m3gnet.radial import SmoothBessel, SphericalBessel, polynomial_envelope


@final
class ThreeBody(nn.Module):
    """e_ij + GatedMLP(s_ij).

    Shapes: N atoms read, n centres, C features, L degrees, R radial functions of each, M moments, [...] edges.
    """

    of_weight: Tensor
    of_harmonic: Tensor
    to_sum: Tensor

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
        maps = moment_maps(config.max_l, config.max_n)
        for name, each in zip(("of_weight", "of_harmonic", "to_sum"), maps, strict=True):
            self.register_buffer(name, each, persistent=False)  # they follow from the sizes

    def forward(self, block: Block, x_NC: Tensor, e_C: Tensor) -> Tensor:
        """Atoms (N, C) and edges [..., C] → edges [..., C]."""
        gates_NB = torch.sigmoid(self.gate(x_NC))
        gates = block.at_senders(gates_NB) if self.gate_from_end else block.at_receivers(gates_NB)
        envelope = block.radial(lambda r: polynomial_envelope(r, self.cutoff)[..., None])
        weights = block.radial(self.radial) * gates * envelope
        update: Tensor = self.update(self.sums(block, weights, self.harmonics(block)) * envelope)
        return e_C + update

    def harmonics(self, block: Block) -> Tensor:
        """Of the direction of each edge, for each moment, [..., M]."""
        directions = block.vectors / block.lengths()[..., None]
        return spherical_harmonics(directions, self.degrees) @ self.of_harmonic

    def sums(self, block: Block, weights: Tensor, harmonics: Tensor) -> Tensor:
        """Σ_{k≠j} of weights [..., L·R] times Y_l0(cos θ), [..., L·R]; harmonics [..., M]."""
        terms = (weights @ self.of_weight) * harmonics
        moments = block.at_receivers(block.sum(terms))
        return ((moments - terms) * harmonics) @ self.to_sum


def moment_maps(degrees: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """How the moments, one for each l, n and m, follow from weights and harmonics and sum up.

    As products with matrices: they spread and gather columns in one operation each, forward and backward, and hold
    one number other than zero in each column or row, so they round nothing.

    Args:
        degrees: L.
        count: R.

    Returns:
        The weight of each moment, (L·R, M), and its harmonic, (L², M), as zeros and ones, and the factor
        √(4π/(2l + 1)) of a moment in the sum of its l and n, (M, L·R); M = L² R.
    """
    moments = [
        (degree, radial, order)
        for degree in range(degrees)
        for radial in range(count)
        for order in range(2 * degree + 1)
    ]
    of_weight = torch.zeros(degrees * count, len(moments), dtype=torch.float64)
    of_harmonic = torch.zeros(degrees**2, len(moments), dtype=torch.float64)
    factors = torch.zeros(len(moments), 1, dtype=torch.float64)
    for index, (degree, radial, order) in enumerate(moments):
        of_weight[degree * count + radial, index] = 1.0
        of_harmonic[degree**2 + order, index] = 1.0
        factors[index] = math.sqrt(4.0 * math.pi / (2 * degree + 1))
    return of_weight, of_harmonic, of_weight.T * factors


def spherical_harmonics(directions: Tensor, degrees: int) -> Tensor:
    """Y_lm of unit vectors, normalised so that Σ_m Y_lm(a) Y_lm(b) = (2l + 1)/4π · P_l(a · b).

    Args:
        directions: [..., 3]; zero where padded.
        degrees: how many, from l = 0 on.

    Returns:
        [..., degrees²], l-major.
    """
    # Columns, not numbers: taking the last axis away makes compilers ask whether there is more than one edge.
    x, y, z = (directions[..., axis : axis + 1] for axis in range(3))
    functions = (_degree_0, _degree_1, _degree_2, _degree_3)
    return torch.cat([value for function in functions[:degrees] for value in function(x, y, z)], dim=-1)


def _degree_0(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    return [torch.full_like(x, math.sqrt(1.0 / (4.0 * math.pi)))]


def _degree_1(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    norm = math.sqrt(3.0 / (4.0 * math.pi))
    return [norm * y, norm * z, norm * x]


def _degree_2(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    norm = math.sqrt(15.0 / (4.0 * math.pi))
    # x² + y² + z² in place of 1 keeps the sum rule to rounding for vectors that are nearly unit.
    square = x * x + y * y + z * z
    return [
        norm * x * y,
        norm * y * z,
        norm / math.sqrt(12.0) * (3.0 * z * z - square),
        norm * x * z,
        norm / 2.0 * (x * x - y * y),
    ]


def _degree_3(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    norm = math.sqrt(7.0 / (16.0 * math.pi))
    square = x * x + y * y + z * z
    outer, middle, inner = norm * math.sqrt(2.5), norm * math.sqrt(15.0), norm * math.sqrt(1.5)
    return [
        outer * y * (3.0 * x * x - y * y),
        2.0 * middle * x * y * z,
        inner * y * (5.0 * z * z - square),
        norm * z * (5.0 * z * z - 3.0 * square),
        inner * x * (5.0 * z * z - square),
        middle * z * (x * x - y * y),
        outer * x * (x * x - 3.0 * y * y),
    ]
