"""What blocks see of distances and angles: computed once, by the first layer, and handed on as state of edges.

Shapes: [...] edges in either form, [..., +] pairs or chains of edges; B projected functions, L degrees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.aggregation.sets import QuadrupletBlock, TripletBlock
from halocline.graph import Nearest, Quadruplets, Radius, Triplets
from halocline.plugins.backbones.jmp.bases import Radial, angles, chain_angles
from halocline.plugins.backbones.jmp.config import JMPConfig

#: Blocks of a layer by their place: edges that have features, those that are told something, those that are kept.
OUTER, MIDDLE, INNER = 0, 1, 2

#: Where a value lies: the block, and the list, the pairs or the chains of it.
Rule = Nearest | Radius
Place = tuple[int, Rule | Triplets | Quadruplets]

#: Between the name of a kind of messages and what functions of the distance do there: weight what is read before
#: it is sent, and what was summed up after.
READ, SPREAD, ANGLES = "_read", "_spread", "_angles"

#: Of chains: functions of the edge between and of its angle with the edge that is read, and harmonics of the
#: dihedral angle.
BETWEEN: Final = "chains_between"
DIHEDRAL: Final = "chains_dihedral"

#: Of edges that tell atoms something, within a block and at its ends.
UPDATE, OUTPUT = "update", "output"


@final
class Hops:
    """The blocks of a layer, with the lists, pairs and chains of each, which are made once.

    Args:
        blocks: the outermost first.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(blocks)
        self._lists: dict[tuple[int, Rule], Block] = {}
        self._pairs: dict[tuple[int, Triplets], TripletBlock] = {}
        self._chains: dict[tuple[int, Quadruplets], QuadrupletBlock] = {}

    def edges(self, hop: int, rule: Rule) -> Block:
        """Those of one list."""
        if (hop, rule) not in self._lists:
            self._lists[hop, rule] = self.blocks[hop].within(rule)
        return self._lists[hop, rule]

    def pairs(self, hop: int, which: Triplets) -> TripletBlock:
        """Pairs of edges."""
        if (hop, which) not in self._pairs:
            self._pairs[hop, which] = self.blocks[hop].triplets(which)
        return self._pairs[hop, which]

    def chains(self, hop: int, which: Quadruplets) -> QuadrupletBlock:
        """Chains of edges."""
        if (hop, which) not in self._chains:
            self._chains[hop, which] = self.blocks[hop].quadruplets(which)
        return self._chains[hop, which]

    def own(self, values: Tensor, place: Place) -> Tensor:
        """Of values that were computed for more receivers, those of a place."""
        hop, what = place
        if isinstance(what, Triplets):
            return self.pairs(hop, what).own(values)
        if isinstance(what, Quadruplets):
            return self.chains(hop, what).own(values)
        return self.edges(hop, what).own(values)


@final
class Functions(nn.Module):
    """Functions of the lengths of one list's edges by name, all made of the same Gaussians.

    Args:
        config: of the model.
        rule: of the list.
        channels: how many each name has.
    """

    def __init__(self, config: JMPConfig, rule: Rule, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.rule, self.channels = rule, dict(channels)
        self.basis = Radial(config, sum(channels.values()))

    def forward(self, hops: Hops, hop: int) -> dict[str, Tensor]:
        """Name → [..., C] of the edges of a block."""
        values = hops.edges(hop, self.rule).radial(self.basis)
        return dict(zip(self.channels, torch.split(values, list(self.channels.values()), -1), strict=True))


@final
class Geometry(nn.Module):
    """All functions of distances and angles of a model, which its blocks share as upstream's do."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        radial, angular = config.radial, config.angular * config.degrees
        main = config.main_list
        self.config = config
        self.far = Functions(config, main, {"chains" + READ: radial, OUTPUT: radial})
        self.near = Functions(
            config,
            main,
            {
                "edges_to_edges" + READ: radial,
                "edges_to_edges" + SPREAD: angular,
                "atoms_to_edges" + SPREAD: angular,
                "chains" + SPREAD: config.dihedral * config.degrees**2,
                "edges_to_atoms" + READ: radial,
                UPDATE: radial,
            },
        )
        mixed = {"atoms_to_edges" + READ: radial, "edges_to_atoms" + SPREAD: angular}
        self.mixed = Functions(config, config.mixed_list, mixed)
        self.close = Functions(config, config.close_list, {BETWEEN: angular})
        self.pairs = Functions(config, config.pair_list, {"atoms_to_atoms" + READ: radial})

    def forward(self, hops: Hops) -> dict[str, Tensor]:
        """Name → [..., B] of edges, and [..., +, B] or [..., +, L] of pairs and chains; see `places`."""
        found = {**self.far(hops, OUTER), **self.near(hops, MIDDLE), **self.mixed(hops, MIDDLE)}
        found |= self.pairs(hops, INNER)
        config = self.config
        for name, hop, which in (
            ("edges_to_edges", MIDDLE, config.edge_to_edge),
            ("atoms_to_edges", MIDDLE, config.atom_to_edge),
            ("edges_to_atoms", INNER, config.edge_to_atom),
        ):
            written, read = hops.edges(hop, which.written), hops.edges(hop, which.read)
            found[name + ANGLES] = angles(hops.pairs(hop, which), written, read, config.degrees)
        return found | self._chains(hops)

    def _chains(self, hops: Hops) -> dict[str, Tensor]:
        config = self.config
        close, chains = hops.edges(MIDDLE, config.close_list), hops.chains(MIDDLE, config.chains)
        blocks = (hops.edges(MIDDLE, config.main_list), close, hops.edges(OUTER, config.main_list))
        at_i, at_k, dihedral = chain_angles(chains, blocks, config.degrees, config.softness)
        functions = torch.unflatten(self.close(hops, MIDDLE)[BETWEEN], -1, (config.angular, config.degrees))
        between = (chains.at_between(functions) @ at_k[..., None]).squeeze(-1)
        return {BETWEEN: between, "chains" + ANGLES: at_i, DIHEDRAL: dihedral}


def places(config: JMPConfig) -> dict[str, Place]:
    """Where each value of `Geometry` is read in every layer, which `Hops.own` cuts out."""
    main, mixed = config.main_list, config.mixed_list
    return {
        OUTPUT: (OUTER, main),
        "chains" + READ: (OUTER, main),
        "edges_to_edges" + READ: (MIDDLE, main),
        "edges_to_edges" + SPREAD: (MIDDLE, main),
        "edges_to_edges" + ANGLES: (MIDDLE, config.edge_to_edge),
        "atoms_to_edges" + READ: (MIDDLE, mixed),
        "atoms_to_edges" + SPREAD: (MIDDLE, main),
        "atoms_to_edges" + ANGLES: (MIDDLE, config.atom_to_edge),
        "chains" + SPREAD: (MIDDLE, main),
        "chains" + ANGLES: (MIDDLE, config.chains),
        BETWEEN: (MIDDLE, config.chains),
        DIHEDRAL: (MIDDLE, config.chains),
        "edges_to_atoms" + READ: (INNER, main),
        "edges_to_atoms" + SPREAD: (INNER, mixed),
        "edges_to_atoms" + ANGLES: (INNER, config.edge_to_atom),
        "atoms_to_atoms" + READ: (INNER, config.pair_list),
        UPDATE: (INNER, main),
    }
