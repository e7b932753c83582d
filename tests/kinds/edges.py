"""State of edges and pairs of edges: angles at a centre, a walk along edges, and smooth mutual ranks."""

from __future__ import annotations

import torch

from halocline.graph import Nearest, Radius, Several, Triplets
from halocline.model import Stage, StageSpec, State
from kinds.capped import COUNT
from kinds.common import KindModel, envelope, linear


class AngleLayer(Stage):
    """Edges e_ij, made of distances first, gather f(cos θ_kij) e_ik from the others of their receiver."""

    def __init__(self, config):
        super().__init__()
        rule = Nearest(COUNT + 2, config.cutoff, "either")
        self.angles = Triplets(rule, rule)
        self.spec = StageSpec(hops=1, neighbours=rule, index_sets=(self.angles,))
        self.cutoff, channels = config.cutoff, config.channels
        self.start, self.angle, self.mix = linear(1, channels), linear(1, channels), linear(channels, channels)

    def forward(self, state, *blocks):
        (block,) = blocks
        x, lengths = state.atoms["x"], block.lengths()
        weights = envelope(lengths, self.cutoff)[..., None]
        e = block.own(state.edges["e"]) if state.edges else self.start(lengths[..., None]) * weights
        angles, directions = block.triplets(self.angles), block.vectors / lengths[..., None]
        cosines = (angles.at_written(directions) * angles.at_read(directions)).sum(-1, keepdim=True)
        # Not a polynomial: the moments that M3GNet's layers use instead cannot give this.
        messages = torch.exp(self.angle(cosines)) * angles.at_read(e)
        e = e + weights * torch.tanh(angles.sum(messages))
        sums = block.sum(e * block.at_senders(x))
        return State({"x": block.targets(x) + torch.tanh(self.mix(sums))}, {"e": e})


class Angles(KindModel):
    name, layer = "angles", AngleLayer


class WalkLayer(Stage):
    """Edges e_ij gather e_jk of the layer before, which end at their senders, and their opposites e_ji."""

    def __init__(self, config):
        super().__init__()
        rule = Radius(config.cutoff)
        self.onwards, self.back = Triplets(rule, rule, "sender"), Triplets(rule, rule, "opposite")
        self.spec = StageSpec(hops=2, neighbours=rule, index_sets=(self.onwards, self.back), edge_state=("e",))
        self.cutoff, channels = config.cutoff, config.channels
        self.start, self.mix = linear(1, channels), linear(channels, channels)
        self.along, self.turned = linear(channels, channels), linear(channels, channels)

    def forward(self, state, *blocks):
        outer, inner = blocks
        x = state.atoms["x"]
        before = outer.own(state.edges["e"]) if state.edges else self.first(outer, x)
        onwards, back = inner.triplets(self.onwards), inner.triplets(self.back)
        dots = (onwards.at_written(inner.vectors) * onwards.at_read(outer.vectors)).sum(-1, keepdim=True)
        gathered = onwards.sum(onwards.at_read(before) * torch.tanh(dots))
        turned = back.sum(self.turned(back.at_read(before)))
        weights = envelope(inner.lengths(), self.cutoff)[..., None]
        e = inner.own(before) + weights * torch.tanh(self.along(gathered) + turned)
        return State({"x": inner.targets(x) + torch.tanh(self.mix(inner.sum(e)))}, {"e": e})

    def first(self, block, x):
        made = self.start(block.lengths()[..., None]) * block.at_senders(x)
        return made * envelope(block.lengths(), self.cutoff)[..., None]


class Walk(KindModel):
    name, layer = "walk", WalkLayer


#: Of the cutoff: longer edges carry no messages, and count ever less in ranks, so that none of these jumps.
COUNTED = 0.8


def leaving(lengths, cutoff):
    """1 up to the part of the cutoff that is `COUNTED`, then down to 0 there, with two derivatives that vanish."""
    beyond = ((lengths / cutoff - COUNTED) / (1.0 - COUNTED)).clamp(min=0.0, max=1.0)
    return (1.0 - beyond**3) ** 3


class SoftRankLayer(Stage):
    """EScAIP's weights in small: smooth ranks at both ends of an edge end it before its hard rank does."""

    def __init__(self, config, mutual=None):
        super().__init__()
        self.near, self.mutual = Radius(config.cutoff), mutual or Nearest(2 * COUNT, config.cutoff, "both")
        self.ranks, self.back = Triplets(self.near, self.near), Triplets(self.mutual, self.near, "opposite")
        rules = dict.fromkeys((self.near, self.mutual))
        self.spec = StageSpec(hops=2, neighbours=Several(tuple(rules)), index_sets=(self.ranks, self.back))
        self.cutoff, channels = config.cutoff, config.channels
        self.filter, self.mix = linear(1, channels), linear(channels, channels)

    def forward(self, state, *blocks):
        outer, inner = blocks
        x, ranks = outer.targets(state.atoms["x"]), outer.triplets(self.ranks)
        lengths = outer.within(self.near).lengths()[..., None]
        counted = torch.sigmoid((ranks.at_written(lengths) - ranks.at_read(lengths)) / 0.5)
        counted = counted * ranks.at_read(leaving(lengths, self.cutoff))
        received = ranks.sum(counted)  # of all edges near: how many of their receiver are shorter
        back, mutual = inner.triplets(self.back), inner.within(self.mutual)
        sent = back.sum(back.at_read(received))
        received = inner.select(inner.within(self.near).own(received), self.mutual)
        lengths = mutual.lengths()[..., None]
        worst = torch.cat([received / COUNT, sent / COUNT, lengths / (COUNTED * self.cutoff)], -1)
        ends = 0.25 * torch.logsumexp(worst / 0.25, -1, keepdim=True)
        messages = mutual.at_senders(x) * self.filter(lengths) * envelope(ends, 1.0)
        return State({"x": inner.targets(x) + torch.tanh(self.mix(mutual.sum(messages)))}, {})


class SoftRanks(KindModel):
    name, layer = "soft-ranks", SoftRankLayer


class SoftRanksOfAll(KindModel):
    """Without the hard rank beneath, which leaves out nothing that counts."""

    name = "soft-ranks-of-all"

    @staticmethod
    def layer(config):
        return SoftRankLayer(config, Radius(config.cutoff))
