"""What edges and atoms tell each other: five kinds of messages, each with a bilinear layer of its own.

Shapes: [...] edges in either form, [..., +] pairs or chains of edges; C features before and D after; L degrees,
B projected functions. GemNet-OC, fig. 1 and section 5. What is ``seen`` of distances and angles is that of
`Geometry`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.plugins.backbones.jmp.config import JMPConfig
from halocline.plugins.backbones.jmp.dense import Dense, Scale, linear
from halocline.plugins.backbones.jmp.geometry import ANGLES, BETWEEN, DIHEDRAL, INNER, MIDDLE, READ, SPREAD, Hops

Seen = Mapping[str, Tensor]


@final
class Weighted(nn.Module):
    """Features times functions of the distance, fewer of them: act(W (act(V x) ∘ U g(r))).

    Args:
        config: of the model.
        features: of what is given.
        kept: C, of what is left.
    """

    def __init__(self, config: JMPConfig, features: int, kept: int) -> None:
        super().__init__()
        self.dense = Dense(features, features)
        self.weight, self.scale = linear(config.radial, features), Scale()
        self.down = Dense(features, kept)

    def forward(self, x: Tensor, functions: Tensor, senders: Block | None = None) -> Tensor:
        """Of edges [..., F], or of atoms (N, F) as senders, by functions [..., B]: [..., C]."""
        x = self.dense(x)
        x = x if senders is None else senders.at_senders(x)
        result: Tensor = self.down(self.scale(x * self.weight(functions)))
        return result


@final
class Bilinear(nn.Module):
    """Σ over B and C of a weight, of functions of one distance and what was summed with functions of angles.

    Args:
        basis: B.
        degrees: functions of angles, M.
        inputs: C.
        outputs: D.
    """

    def __init__(self, basis: int, degrees: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shape = (basis, degrees)
        self.weight, self.scale = linear(basis * inputs, outputs), Scale()

    def spread(self, functions: Tensor, sums: Tensor) -> Tensor:
        """Functions [..., B M] and sums [..., M, C] of edges → [..., B, C]."""
        return torch.unflatten(functions, -1, self.shape) @ sums

    def forward(self, x: Tensor) -> Tensor:
        """[..., B, C] → [..., D]."""
        result: Tensor = self.scale(self.weight(x.flatten(-2)))
        return result


@final
class BothWays(nn.Module):
    """What is added to an edge of its own messages, and of those of its opposite."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.own, self.opposite = Dense(inputs, outputs), Dense(inputs, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[..., D] → [..., E] of this edge, and of its opposite."""
        return self.own(x), self.opposite(x)


@final
class ToEdges(nn.Module):
    """Messages to edges from others that end there, or from neighbours of the atom where they end.

    Args:
        config: of the model.
        of_atoms: from neighbours.
    """

    def __init__(self, config: JMPConfig, *, of_atoms: bool) -> None:
        super().__init__()
        self.name = "atoms_to_edges" if of_atoms else "edges_to_edges"
        self.of_atoms = of_atoms
        self.which = config.atom_to_edge if of_atoms else config.edge_to_edge
        self.read = Weighted(config, config.atom if of_atoms else config.edge, config.triplet_in)
        self.bilinear = Bilinear(config.angular, config.degrees, config.triplet_in, config.triplet_out)
        self.up = BothWays(config.triplet_out, config.edge)

    def forward(self, hops: Hops, x: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        """Edges [..., E], or atoms (N, A), of the middle block → messages [..., E] to its edges and opposites."""
        pairs = hops.pairs(MIDDLE, self.which)
        senders = hops.edges(MIDDLE, self.which.read) if self.of_atoms else None
        x = pairs.at_read(self.read(x, seen[self.name + READ], senders))  # [..., +, C]
        sums = pairs.sum(seen[self.name + ANGLES][..., None] * x[..., None, :])
        both: tuple[Tensor, Tensor] = self.up(self.bilinear(self.bilinear.spread(seen[self.name + SPREAD], sums)))
        return both


@final
class EdgesToAtoms(nn.Module):
    """Messages to atoms from the edges that end there, by their angles with neighbours."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.which = config.edge_to_atom
        self.read = Weighted(config, config.edge, config.triplet_in)
        self.bilinear = Bilinear(config.angular, config.degrees, config.triplet_in, config.triplet_out)
        self.up = Dense(config.triplet_out, config.atom)

    def forward(self, hops: Hops, m_E: Tensor, seen: Seen) -> Tensor:
        """Edges [..., E] of the inner block → (n, A)."""
        pairs, mixed = hops.pairs(INNER, self.which), hops.edges(INNER, self.which.written)
        x = pairs.at_read(self.read(m_E, seen["edges_to_atoms" + READ]))
        sums = pairs.sum(seen["edges_to_atoms" + ANGLES][..., None] * x[..., None, :])
        spread = self.bilinear.spread(seen["edges_to_atoms" + SPREAD], sums)
        result: Tensor = self.up(self.bilinear(mixed.sum(spread)))
        return result


@final
class AtomsToAtoms(nn.Module):
    """Messages to atoms from all neighbours."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.list = config.pair_list
        self.down = Dense(config.atom, config.pair_in)
        self.weight, self.scale = linear(config.radial * config.pair_in, config.pair_out), Scale()
        self.up = Dense(config.pair_out, config.atom)

    def forward(self, hops: Hops, h_NA: Tensor, seen: Seen) -> Tensor:
        """Atoms (N, A) that the inner block reads → (n, A)."""
        pairs = hops.edges(INNER, self.list)
        x = pairs.at_senders(self.down(h_NA))
        sums = pairs.sum(seen["atoms_to_atoms" + READ][..., None] * x[..., None, :])  # (n, B, C)
        result: Tensor = self.up(self.scale(self.weight(sums.flatten(-2))))
        return result


@final
class Chains(nn.Module):
    """Messages to edges j → i along chains l → k → i, by both angles and the dihedral one."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.which, self.degrees = config.chains, config.degrees
        self.read = Weighted(config, config.edge, config.quadruplet_in)
        self.weight, self.scale = linear(config.angular, config.quadruplet_in), Scale()
        self.bilinear = Bilinear(config.dihedral, config.degrees**2, config.quadruplet_in, config.quadruplet_out)
        self.up = BothWays(config.quadruplet_out, config.edge)

    def forward(self, hops: Hops, m_E: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        """Edges [..., E] of the outer block → messages [..., E] to those of the middle one, and to opposites."""
        chains = hops.chains(MIDDLE, self.which)
        x = chains.at_read(self.read(m_E, seen["chains" + READ]))
        x = self.scale(x * self.weight(seen[BETWEEN]))  # [..., +, C]
        at_i, dihedral = seen["chains" + ANGLES], seen[DIHEDRAL]
        # One degree after the other: all products at once are the largest tensor by far.
        sums = [
            chains.sum((at_i[..., degree, None] * dihedral)[..., None] * x[..., None, :])
            for degree in range(self.degrees)
        ]
        spread = self.bilinear.spread(seen["chains" + SPREAD], torch.cat(sums, -2))
        both: tuple[Tensor, Tensor] = self.up(self.bilinear(spread))
        return both
