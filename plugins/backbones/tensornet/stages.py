"""The layers of TensorNet: tensors made of neighbours' directions, and interactions.

Shapes: N atoms read, n atoms written, C channels, [...] edges in either form; tensors (N, 9, C).
Equations are those of G. Simeon and G. De Fabritiis, arXiv:2306.06482.
"""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from halocline.aggregation import Block
from halocline.model import Stage, StageSpec, State, Work
from halocline.plugins.backbones.tensornet.config import TensorNetConfig
from halocline.plugins.backbones.tensornet.radial import Weights
from halocline.plugins.backbones.tensornet.tensors import SIZES, Matrices, Mix, of_directions, product, squares


@final
class Directions(Stage):
    """The first layer: sums over neighbours of what their kinds and distances make of directions; eq. 5 to 9."""

    profiled_as: ClassVar = {"forward": Work.MESSAGES, "weights": Work.RADIAL, "scales": Work.UPDATE}

    def __init__(self, config: TensorNetConfig) -> None:
        super().__init__()
        channels = config.features
        self.spec = StageSpec(hops=1, neighbours=config.rule)
        self.weights = Weights(config, hidden=False)
        self.near = nn.Linear(channels, channels, bias=False, dtype=torch.float64)
        self.own = nn.Linear(channels, channels, dtype=torch.float64)
        self.norm = nn.LayerNorm(channels, dtype=torch.float64)
        self.mix = Mix(channels)
        self.scales = nn.ModuleList(
            nn.Linear(a, b, dtype=torch.float64)
            for a, b in ((channels, 2 * channels), (2 * channels, 3 * channels))
        )

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (N, C) → ``tensors`` (n, 9, C)."""
        (block,) = blocks
        x_NC = state.atoms["features"]
        pairs = block.at_senders(self.near(x_NC)) + block.at_receivers(self.own(x_NC))
        weights = block.radial(self.weights).chunk(3, -1)
        skew, symmetric = of_directions(block.vectors / block.lengths()[..., None])
        parts = [
            block.sum(pairs * weights[0])[:, None] * 3.0**0.5,
            block.sum((pairs * weights[1])[..., None, :] * skew[..., None]),
            block.sum((pairs * weights[2])[..., None, :] * symmetric[..., None]),
        ]
        scales = self.norm(squares(torch.cat(parts, 1)))
        for layer in self.scales:
            scales = silu(layer(scales))
        each = zip(self.mix(parts), scales.chunk(3, -1), strict=True)
        return State({"tensors": torch.cat([part * scale[:, None] for part, scale in each], 1)}, {})


@final
class Interaction(Stage):
    """Neighbours' tensors weighted by distance, and products of their sum with an atom's own; eq. 10 to 14."""

    profiled_as: ClassVar = {"forward": Work.MESSAGES, "weights": Work.RADIAL, "before": Work.UPDATE}

    def __init__(self, config: TensorNetConfig) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=config.rule)
        self.weights = Weights(config, hidden=True)
        self.before, self.after = Mix(config.features), Mix(config.features)
        self.matrices = Matrices()

    def forward(self, state: State, *blocks: Block) -> State:
        """``tensors`` (N, 9, C) → (n, 9, C)."""
        (block,) = blocks
        x_N9C = _bounded(state.atoms["tensors"])
        y = self.before(torch.split(x_N9C, SIZES, 1))
        weights = block.radial(self.weights).chunk(3, -1)
        sums = torch.cat([block.convolve(part, weight) for part, weight in zip(y, weights, strict=True)], 1)
        own, theirs = self.matrices(block.targets(torch.cat(y, 1))), self.matrices(sums)
        both = self.matrices.coefficients(product(theirs, own) + product(own, theirs))
        change = torch.cat(self.after(torch.split(_bounded(both), SIZES, 1)), 1)
        as_matrix = self.matrices(change)
        square = self.matrices.coefficients(product(as_matrix, as_matrix))
        return State({"tensors": block.targets(x_N9C) + change + square}, {})


def _bounded(tensors: Tensor) -> Tensor:
    """X / (1 + |X|²), (n, 9, C)."""
    return tensors / (squares(tensors) + 1.0)[:, None]
