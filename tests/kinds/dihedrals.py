"""Chains of three edges, as GemNet-OC's quadruplets: messages that depend on dihedral angles."""

from __future__ import annotations

import torch

from halocline.graph import Quadruplets, Radius, Several
from halocline.model import Stage, StageSpec, State
from kinds.common import KindModel, envelope, linear

#: Of the cutoff: edges between are shorter.
BETWEEN = 0.8


class DihedralLayer(Stage):
    """Edges j → i gather f(dihedral angle of j, i, k, l) e_kl along l → k → i, and give the sums to atoms."""

    def __init__(self, config):
        super().__init__()
        self.near, self.close = Radius(config.cutoff), Radius(BETWEEN * config.cutoff)
        self.chains = Quadruplets(self.near, self.close, self.near)
        rules = Several((self.near, self.close))
        self.spec = StageSpec(hops=2, neighbours=rules, index_sets=(self.chains,))
        channels = config.channels
        self.start, self.angle, self.mix = linear(1, channels), linear(1, channels), linear(channels, channels)

    def forward(self, state, *blocks):
        outer, inner = blocks
        x, chains = state.atoms["x"], inner.quadruplets(self.chains)
        far, near, close = outer.within(self.near), inner.within(self.near), inner.within(self.close)
        e = self.start(far.lengths()[..., None]) * far.at_senders(x) * self.ends(far, self.near)
        to_j, to_k, to_l = (
            chains.at_written(self.directions(near)),
            chains.at_between(self.directions(close)),
            chains.at_read(self.directions(far)),
        )
        # cos φ, times the sines of both angles along the chain: zero where one of them has no plane.
        cosines = dot(to_j, to_l) - dot(to_j, to_k) * dot(to_k, to_l)
        messages = torch.exp(self.angle(cosines)) * chains.at_between(self.ends(close, self.close))
        sums = torch.tanh(chains.sum(messages * chains.at_read(e))) * self.ends(near, self.near)
        return State({"x": inner.targets(x) + torch.tanh(self.mix(near.sum(sums)))}, {})

    @staticmethod
    def directions(block):
        return block.vectors / block.lengths()[..., None]

    @staticmethod
    def ends(block, rule):
        return envelope(block.lengths(), rule.cutoff)[..., None]


def dot(one, other):
    return (one * other).sum(-1, keepdim=True)


class Dihedrals(KindModel):
    name, layer = "dihedrals", DihedralLayer
