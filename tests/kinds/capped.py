"""The k nearest within a radius: collected at receivers, at senders, or symmetric; and lists without a radius."""

from __future__ import annotations

import torch

from halocline.graph import Nearest
from halocline.model import Stage, StageSpec, State
from kinds.common import KindModel, envelope, linear

#: Few enough to cut neighbours off in all structures of the suite, and odd: images come in pairs.
COUNT = 5


class RankedLayer(Stage):
    """Messages depend on the direction too, so that an edge taken for its opposite shows."""

    def __init__(self, config, rule):
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=rule)
        self.cutoff, channels = config.cutoff, config.channels
        self.gate, self.filter, self.mix = (linear(size, channels) for size in (channels, 1, 2 * channels))

    def forward(self, state, *blocks):
        (block,) = blocks
        x = state.atoms["x"]
        gates = torch.sigmoid(self.gate(block.at_receivers(x)))
        messages = block.at_senders(x) * block.radial(self.weights) * gates
        both = torch.cat([block.sum(messages), self.sent(block, messages)], 1)
        return State({"x": block.targets(x) + torch.tanh(self.mix(both))}, {})

    def sent(self, block, messages):
        """What the atoms collect that send: complete for those of the next level inwards alone."""
        return torch.zeros_like(block.sum(messages))

    def weights(self, lengths):
        return self.filter(lengths[..., None]) * envelope(lengths, self.cutoff)[..., None]


class BothEndsLayer(RankedLayer):
    """Like ORB's: sums at both ends of each edge."""

    def __init__(self, config, rule):
        super().__init__(config, rule)
        self.spec = StageSpec(hops=2, neighbours=rule)

    def forward(self, state, *blocks):
        outer, inner = blocks
        x = state.atoms["x"]
        gates = torch.sigmoid(self.gate(outer.at_receivers(x)))
        messages = outer.at_senders(x) * outer.radial(self.weights) * gates
        received, sent = inner.targets(outer.sum(messages)), inner.targets(outer.sum_at_senders(messages))
        return State({"x": inner.targets(x) + torch.tanh(self.mix(torch.cat([received, sent], 1)))}, {})


class RankedModel(KindModel):
    kept_by = "receiver"
    ranked_layer = RankedLayer

    @classmethod
    def layer(cls, config):
        return cls.ranked_layer(config, Nearest(COUNT, config.cutoff, cls.kept_by))


class ByReceiver(RankedModel):
    name = "by-receiver"


class BySender(RankedModel):
    name, kept_by = "by-sender", "sender"


class ByEither(RankedModel):
    name, kept_by = "by-either", "either"


class ByBoth(RankedModel):
    name, kept_by = "by-both", "both"


class AtBothEnds(RankedModel):
    name, kept_by, ranked_layer = "at-both-ends", "sender", BothEndsLayer


class WithoutRadius(RankedModel):
    """However far: the envelope ends at the cutoff, the list does not."""

    name = "without-radius"

    @classmethod
    def layer(cls, config):
        return RankedLayer(config, Nearest(COUNT, kept_by="sender"))
