"""State with trailing axes: scalars (n, C) and vectors (n, 3, C), equivariant under rotations.

The smallest form of K. T. Schütt et al., "Equivariant message passing" (PaiNN), arXiv 2102.03150.
"""

from __future__ import annotations

import torch

from halocline.graph import Radius
from halocline.model import Stage, StageSpec, State
from kinds.common import Embed, KindModel, envelope, linear


class VectorLayer(Stage):
    def __init__(self, config):
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=Radius(config.cutoff))
        self.cutoff, channels = config.cutoff, config.channels
        self.filters = linear(2, 3 * channels)
        self.mix, self.update = linear(channels, channels), linear(2 * channels, channels)

    def forward(self, state, *blocks):
        (block,) = blocks
        x, v = state.atoms["x"], state.atoms["v"]  # (N, C), (N, 3, C)
        keep, turn, make = block.radial(self.weights).chunk(3, dim=-1)
        directions = block.vectors / block.lengths()[..., None]
        at_senders = block.at_senders(x)
        moved = block.at_senders(v) * (keep * block.at_receivers(x))[..., None, :]
        made = directions[..., None] * (make * at_senders)[..., None, :]
        v = block.targets(v) + block.sum(moved + made)
        norms = (self.mix(v) * v).sum(1)
        x = block.targets(x)
        return State(
            {"x": x + torch.tanh(self.update(torch.cat([block.sum(turn * at_senders), norms], 1))), "v": v}, {}
        )

    def weights(self, lengths):
        basis = torch.stack([lengths, lengths * lengths], -1) / self.cutoff
        return self.filters(basis) * envelope(lengths, self.cutoff)[..., None]


class VectorEmbed(Embed):
    def forward(self, state, *blocks):
        x = super().forward(state).atoms["x"]
        return State({"x": x, "v": torch.zeros_like(x)[:, None, :].repeat(1, 3, 1)}, {})


class VectorModel(KindModel):
    name, layer = "vectors", VectorLayer

    def __init__(self, config):
        super().__init__(config)
        self.embed = VectorEmbed(config)
