"""Functions of lengths, of angles, and of dihedral angles.

J. Gasteiger et al., "GemNet-OC: developing graph neural networks for large and diverse molecular simulation
datasets", TMLR 2022, arXiv:2204.02782; the outer product of polynomials is that of JMP.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from halocline.aggregation import Block
from halocline.aggregation.radial import RadialFunction
from halocline.aggregation.sets import QuadrupletBlock, TripletBlock
from halocline.plugins.backbones.jmp.config import JMPConfig
from halocline.plugins.backbones.jmp.dense import linear

#: Å². Both ends of a chain are one atom if they are nearer than that.
_SAME = 1e-4


@final
class Radial(RadialFunction):
    """Gaussians of the distance over the cutoff, times an envelope, projected without offsets.

    Gaussians are Δ wide at distances Δ; the envelope is that of J. Gasteiger, J. Groß and S. Günnemann, ICLR 2020,
    eq. 8.

    Args:
        config: of the model.
        channels: what they are projected to.
        share: see `linear`.
    """

    offsets: Tensor

    def __init__(self, config: JMPConfig, channels: int, *, share: float = 1.0) -> None:
        super().__init__()
        self.start, self.end, self.channels = 0.0, config.cutoff, channels
        self.exponent = config.envelope
        self.factor = -0.5 * (config.gaussians - 1) ** 2
        self.register_buffer("offsets", torch.linspace(0.0, 1.0, config.gaussians, dtype=torch.float64))
        self.project = linear(config.gaussians, channels, share=share)

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """See `RadialFunction.forward`."""
        del numbers
        x = (distances * (1.0 / self.end)).clamp(max=1.0)[..., None]
        p = self.exponent
        last = -0.5 * (p + 1) * (p + 2) + x * (p * (p + 2) - 0.5 * p * (p + 1) * x)
        shifted = x - self.offsets
        result: Tensor = self.project(torch.exp(self.factor * shifted * shifted) * (1.0 + x**p * last))
        return result


def harmonics(cosines: Tensor, degrees: int) -> Tensor:
    """√((2l + 1)/4π) P_l of cosines [...] for l < L: [..., L]."""
    values = [torch.ones_like(cosines), cosines][:degrees]
    for degree in range(2, degrees):
        last = ((degree - 1) / degree) * values[-2]
        values.append(((2 * degree - 1) / degree) * cosines * values[-1] - last)
    norms = [math.sqrt((2 * degree + 1) / (4.0 * math.pi)) for degree in range(degrees)]
    return torch.stack([norm * each for norm, each in zip(norms, values, strict=True)], -1)


def directions(block: Block) -> Tensor:
    """Of edges, [..., 3], from receiver to sender."""
    return block.vectors / block.lengths()[..., None]


def dot(one: Tensor, other: Tensor) -> Tensor:
    """[..., 3] and [..., 3] → [...]."""
    return (one * other).sum(-1)


def angles(pairs: TripletBlock, written: Block, read: Block, degrees: int) -> Tensor:
    """Harmonics of the angles of pairs, [..., +, L].

    Args:
        pairs: of edges.
        written: the block of the edges that are written.
        read: that of the edges that are read.
        degrees: L.
    """
    return harmonics(dot(pairs.at_written(directions(written)), pairs.at_read(directions(read))), degrees)


def chain_angles(
    chains: QuadrupletBlock, blocks: tuple[Block, Block, Block], degrees: int, softness: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Harmonics of both angles along chains l → k → i ← j and of the dihedral one between them.

    Args:
        chains: of three edges.
        blocks: of the edges that are written, of those between, and of those that are read.
        degrees: L.
        softness: ε; the dihedral angle has cos φ = u·v/√(u²v² + ε²), where u and v are the parts of j and l across
            the edge between.

    Returns:
        [..., +, L] of the angle at i, at k, and of the dihedral one, the last of which is zero where l and j are
        one atom.
    """
    written, between, read = blocks
    to_j, to_k, to_l = (
        chains.at_written(directions(written)),
        chains.at_between(directions(between)),
        chains.at_read(directions(read)),
    )
    at_i, at_k = dot(to_j, to_k), dot(to_l, to_k)
    across = dot(to_j, to_l) - at_i * at_k
    squares = (1.0 - at_i * at_i).clamp(min=0.0) * (1.0 - at_k * at_k).clamp(min=0.0)
    cosines = across / (squares + softness * softness).sqrt()
    apart = chains.at_between(between.vectors) + chains.at_read(read.vectors) - chains.at_written(written.vectors)
    there = (dot(apart, apart) > _SAME).to(cosines.dtype)
    of_dihedral = harmonics(cosines, degrees) * there[..., None]
    return harmonics(at_i, degrees), harmonics(at_k, degrees), of_dihedral
