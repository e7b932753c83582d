"""Several lists in one model: a layer of each rule, and a layer that reads two of them."""

from __future__ import annotations

import torch
from torch import nn

from halocline.graph import Nearest, Radius, Several
from halocline.model import Stage, StageSpec, State
from kinds.capped import COUNT, RankedLayer
from kinds.common import KindModel, envelope, linear


class TwoListsLayer(Stage):
    def __init__(self, config):
        super().__init__()
        self.near, self.ranked = Radius(0.7 * config.cutoff), Nearest(COUNT, config.cutoff, "either")
        self.spec = StageSpec(hops=1, neighbours=Several((self.near, self.ranked)))
        self.filters = nn.ModuleList(linear(1, config.channels) for _ in range(2))
        self.mix = linear(2 * config.channels, config.channels)

    def forward(self, state, *blocks):
        (block,) = blocks
        x, sums = state.atoms["x"], []
        for rule, filters in zip((self.near, self.ranked), self.filters, strict=True):
            some = block.within(rule)
            weights = filters(some.lengths()[..., None]) * envelope(some.lengths(), rule.cutoff)[..., None]
            sums.append(some.sum(some.at_senders(x) * weights))
        return State({"x": block.targets(x) + torch.tanh(self.mix(torch.cat(sums, 1)))}, {})


class SeveralLists(KindModel):
    """Layers take turns: two lists, the whole radius, two lists, …"""

    name = "several-lists"

    def __init__(self, config):
        super().__init__(config)
        for place in range(1, config.layers, 2):
            self.layers[place] = RankedLayer(config, Radius(config.cutoff))

    layer = TwoListsLayer


class ShortLayer(RankedLayer):
    def __init__(self, config):
        super().__init__(config, Radius(config.cutoff))


class TwoRadii(KindModel):
    """The second layer looks less far than the first."""

    name, layer = "two-radii", ShortLayer

    def __init__(self, config):
        super().__init__(config)
        for place in range(1, config.layers):
            self.layers[place] = RankedLayer(config, Radius(0.75 * config.cutoff))
            self.layers[place].cutoff *= 0.75
