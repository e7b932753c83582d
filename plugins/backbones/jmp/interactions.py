"""What edges and atoms tell each other: five kinds of messages, each with a bilinear layer of its own.

Shapes: [...] edges in either form, [..., +] pairs or chains of edges; C features before and D after; L degrees,
B projected functions. GemNet-OC, fig. 1 and section 5.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.plugins.backbones.jmp.bases import Radial, angles, chain_angles
from halocline.plugins.backbones.jmp.config import JMPConfig
from halocline.plugins.backbones.jmp.dense import Dense, Scale, linear


def in_columns(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """[..., B L] → [..., B, L]."""
    return torch.unflatten(x, -1, shape)


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
        self.basis, self.weight, self.scale = (
            Radial(config, config.radial),
            linear(config.radial, features),
            Scale(),
        )
        self.down = Dense(features, kept)

    def forward(self, block: Block, x: Tensor, *, of_atoms: bool = False) -> Tensor:
        """Of edges [..., F], or of atoms (N, F) as senders: [..., C]."""
        x = self.dense(x)
        x = block.at_senders(x) if of_atoms else x
        result: Tensor = self.down(self.scale(x * self.weight(block.radial(self.basis))))
        return result


@final
class Bilinear(nn.Module):
    """Σ over B and C of a weight, of functions of one distance and what was summed with functions of angles.

    Args:
        config: of the model.
        basis: B.
        degrees: functions of angles, M.
        inputs: C.
        outputs: D.
    """

    def __init__(self, config: JMPConfig, basis: int, degrees: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.basis = Radial(config, basis * degrees)
        self.shape = (basis, degrees)
        self.weight, self.scale = linear(basis * inputs, outputs), Scale()

    def spread(self, block: Block, sums: Tensor) -> Tensor:
        """Sums of the edges of a block, [..., M, C] → [..., B, C]."""
        return in_columns(block.radial(self.basis), self.shape) @ sums

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
        self.of_atoms, self.degrees, self.main = of_atoms, config.degrees, config.main_list
        self.pairs = config.atom_to_edge if of_atoms else config.edge_to_edge
        self.read = Weighted(config, config.atom if of_atoms else config.edge, config.triplet_in)
        self.bilinear = Bilinear(config, config.angular, config.degrees, config.triplet_in, config.triplet_out)
        self.up = BothWays(config.triplet_out, config.edge)

    def forward(self, block: Block, x: Tensor) -> tuple[Tensor, Tensor]:
        """Edges [..., E], or atoms (N, A), of a block → messages [..., E] to its edges and to their opposites."""
        main, other, pairs = block.within(self.main), block.within(self.pairs.read), block.triplets(self.pairs)
        x = pairs.at_read(self.read(other, x, of_atoms=self.of_atoms))  # [..., +, C]
        functions = angles(pairs, main, other, self.degrees)  # [..., +, L]
        sums = pairs.sum(functions[..., None] * x[..., None, :])
        both: tuple[Tensor, Tensor] = self.up(self.bilinear(self.bilinear.spread(main, sums)))
        return both


@final
class EdgesToAtoms(nn.Module):
    """Messages to atoms from the edges that end there, by their angles with neighbours."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.pairs, self.degrees = config.edge_to_atom, config.degrees
        self.read = Weighted(config, config.edge, config.triplet_in)
        self.bilinear = Bilinear(config, config.angular, config.degrees, config.triplet_in, config.triplet_out)
        self.up = Dense(config.triplet_out, config.atom)

    def forward(self, block: Block, m_E: Tensor) -> Tensor:
        """Edges [..., E] → (n, A)."""
        mixed, main = block.within(self.pairs.written), block.within(self.pairs.read)
        pairs = block.triplets(self.pairs)
        x = pairs.at_read(self.read(main, m_E))
        functions = angles(pairs, mixed, main, self.degrees)
        sums = pairs.sum(functions[..., None] * x[..., None, :])
        result: Tensor = self.up(self.bilinear(mixed.sum(self.bilinear.spread(mixed, sums))))
        return result


@final
class AtomsToAtoms(nn.Module):
    """Messages to atoms from all neighbours."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.list = config.pair_list
        self.down = Dense(config.atom, config.pair_in)
        self.basis = Radial(config, config.radial)
        self.weight, self.scale = linear(config.radial * config.pair_in, config.pair_out), Scale()
        self.up = Dense(config.pair_out, config.atom)

    def forward(self, block: Block, h_NA: Tensor) -> Tensor:
        """Atoms (N, A) → (n, A)."""
        pairs = block.within(self.list)
        functions, x = pairs.radial(self.basis), pairs.at_senders(self.down(h_NA))
        sums = pairs.sum(functions[..., None] * x[..., None, :])  # (n, B, C)
        result: Tensor = self.up(self.scale(self.weight(sums.flatten(-2))))
        return result


@final
class Chains(nn.Module):
    """Messages to edges j → i along chains l → k → i, by both angles and the dihedral one."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.main, self.close, self.chains = config.main_list, config.close_list, config.chains
        self.degrees, self.softness = config.degrees, config.softness
        self.read = Weighted(config, config.edge, config.quadruplet_in)
        self.basis, self.shape = Radial(config, config.angular * config.degrees), (config.angular, config.degrees)
        self.weight, self.scale = linear(config.angular, config.quadruplet_in), Scale()
        self.bilinear = Bilinear(
            config, config.dihedral, config.degrees**2, config.quadruplet_in, config.quadruplet_out
        )
        self.up = BothWays(config.quadruplet_out, config.edge)

    def forward(self, outer: Block, block: Block, m_E: Tensor) -> tuple[Tensor, Tensor]:
        """Edges [..., E] of the outer block → messages [..., E] to those of this one, and to their opposites."""
        main, close, far = block.within(self.main), block.within(self.close), outer.within(self.main)
        chains = block.quadruplets(self.chains)
        at_i, at_k, dihedral = chain_angles(chains, (main, close, far), self.degrees, self.softness)
        functions = chains.at_between(in_columns(close.radial(self.basis), self.shape))  # [..., +, B, L]
        functions = (functions @ at_k[..., None]).squeeze(-1)
        x = self.scale(chains.at_read(self.read(far, m_E)) * self.weight(functions))  # [..., +, C]
        # One degree after the other: all products at once are the largest tensor by far.
        sums = [
            chains.sum((at_i[..., degree, None] * dihedral)[..., None] * x[..., None, :])
            for degree in range(self.degrees)
        ]
        both: tuple[Tensor, Tensor] = self.up(self.bilinear(self.bilinear.spread(main, torch.cat(sums, -2))))
        return both
