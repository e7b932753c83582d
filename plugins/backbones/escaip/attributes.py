"""What is known of an edge before any message: its length, and elements and orders of both its ends.

Each atom is its own first neighbour, at 0 Å; that edge comes with the atoms. What a dense layer makes of either
end is computed once for each atom and gathered.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from halocline.aggregation import Block
from halocline.aggregation.radial import RadialFunction
from halocline.plugins.backbones.escaip.config import ROWS, EScAIPConfig
from halocline.plugins.backbones.escaip.dense import Norm, linear
from halocline.plugins.backbones.escaip.ranks import at_most


@final
class Distances(RadialFunction):
    """Gaussians of the distance, a dense layer, and what the next makes of it.

    Gaussians are 2Δ wide at distances Δ from 0 to the cutoff.
    """

    offsets: Tensor

    def __init__(self, config: EScAIPConfig) -> None:
        super().__init__()
        self.start, self.end, self.channels = 0.0, config.reach, config.hidden
        offsets = torch.linspace(0.0, config.cutoff, config.gaussians, dtype=torch.float64)
        self.register_buffer("offsets", offsets, persistent=False)
        self.factor = -0.5 / (2.0 * float(offsets[1])) ** 2
        self.embedding = linear(config.gaussians, config.distance_embedding)
        self.out = linear(config.distance_embedding, config.hidden, bias=False)

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """See `RadialFunction.forward`."""
        del numbers
        near = at_most(distances, self.end)
        shifted = near[..., None] - self.offsets
        result: Tensor = self.out(gelu(self.embedding(torch.exp(self.factor * shifted * shifted))))
        return result


@final
class End(nn.Module):
    """What an atom contributes as one end of its edges.

    Args:
        config: of the model.
        bias: whether the dense layer that follows has its offsets here.
    """

    def __init__(self, config: EScAIPConfig, *, bias: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, config.embedding, dtype=torch.float64)
        nn.init.uniform_(self.table.weight, -0.001, 0.001)
        self.orders = linear(config.orders, config.order_embedding)
        self.out = linear(config.order_embedding + config.embedding, config.hidden, bias=bias)

    def forward(self, species: Tensor, orders: Tensor) -> Tensor:
        """Atomic numbers (N,) and orders (N, L) → (N, H)."""
        result: Tensor = self.out(torch.cat([gelu(self.orders(orders)), self.table(species)], -1))
        return result


@final
class Attributes(nn.Module):
    """Features of edges, and of the one that each atom has to itself."""

    def __init__(self, config: EScAIPConfig) -> None:
        super().__init__()
        self.distances = Distances(config)
        self.source, self.target = End(config, bias=False), End(config, bias=True)
        self.norm = Norm(config.hidden)

    def forward(self, block: Block, species: Tensor, orders: Tensor) -> tuple[Tensor, Tensor]:
        """Of atoms (N,) and (N, L): [..., H] of edges, and (N, H)."""
        sent, kept = self.source(species, orders), self.target(species, orders)
        edges = block.radial(self.distances) + block.at_senders(sent) + block.at_receivers(kept)
        own = self.distances(sent.new_zeros(1)) + sent + kept
        return self.norm(gelu(edges)), self.norm(gelu(own))
