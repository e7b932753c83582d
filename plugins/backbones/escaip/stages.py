"""EScAIP's three kinds of stage.

Shapes: N atoms read, n atoms written, H hidden features, L orders, [...] edges in either form. The edge that each
atom has to itself is among its values as ``own``.
"""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from halocline.aggregation import Block
from halocline.model import Stage, StageSpec, State, Work
from halocline.plugins.backbones.escaip.attention import Attention
from halocline.plugins.backbones.escaip.attributes import Attributes
from halocline.plugins.backbones.escaip.config import EScAIPConfig
from halocline.plugins.backbones.escaip.dense import FeedForward, Head, Norm, Residual, linear
from halocline.plugins.backbones.escaip.ranks import Ranks, weights

#: What the last layer does not need where forces are a gradient: nothing reads edges after it.
NOT_IN_LAST = ("edge_update",)


@final
class Share(nn.Module):
    """What one layer adds to the features that outputs are read from: W (x + f(N(x)))."""

    def __init__(self, config: EScAIPConfig) -> None:
        super().__init__()
        self.readout = Residual(config.hidden, config.multiplier)
        self.out = linear(config.hidden, config.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., H] → [..., H]."""
        result: Tensor = self.out(self.readout(x))
        return result


@final
class Embedding(Stage):
    """Which neighbours count, and the orders of each atom.

    Two hops: the rank at the other end of an edge needs the edges that end there.
    """

    profiled_as: ClassVar = {"forward": Work.RADIAL, "ranks.orders_of": Work.ANGULAR}

    def __init__(self, config: EScAIPConfig) -> None:
        super().__init__()
        self.spec = StageSpec(hops=2, neighbours=config.rule)
        self.ranks = Ranks(config)

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``species`` (n,), ``orders`` (n, L), and ``extents`` [...] of edges."""
        outer, block = blocks
        extents = self.ranks.extents(outer, block)
        orders = self.ranks.orders_of(block, extents)
        species = block.targets(outer.targets(state.atoms["species"]))
        return State({"species": species, "orders": orders}, {"extents": extents})


@final
class Start(nn.Module):
    """The first features of edges and atoms."""

    def __init__(self, config: EScAIPConfig) -> None:
        super().__init__()
        self.attributes = Attributes(config)
        self.ffn = FeedForward(config.hidden, 1)
        self.atom_norm, self.edge_norm = Norm(config.hidden), Norm(config.hidden)
        self.share = Share(config)
        self.edge_share = Share(config) if config.direct else None

    def forward(self, block: Block, state: State) -> State:
        """``species`` (N,) and ``orders`` (N, L) → ``features``, ``own`` and ``projected`` (N, H), and edges."""
        edges, own = self.attributes(block, state.atoms["species"], state.atoms["orders"])
        edges, own = edges + self.ffn(edges), own + self.ffn(own)
        features, edges = self.atom_norm(own), self.edge_norm(edges)
        atoms = {"features": features, "own": self.edge_norm(own), "projected": self.share(features)}
        of_edges = {"features": edges, "extents": block.own(state.edges["extents"])}
        if self.edge_share is not None:
            of_edges["projected"] = self.edge_share(edges)
        return State(state.atoms | atoms, of_edges)


@final
class Layer(Stage):
    """Messages along edges, attention among those of each atom, and perceptrons for atoms and edges.

    Args:
        config: of the model.
        number: of the layer, from 0.
    """

    profiled_as: ClassVar = {
        "forward": Work.UPDATE,
        "attributes": Work.RADIAL,
        "_messages": Work.MESSAGES,
        "attention": Work.ANGULAR,
    }

    def __init__(self, config: EScAIPConfig, number: int) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=config.rule)
        hidden = config.hidden
        last = number == config.layers - 1
        ends = last and not config.direct
        self.start = Start(config) if number == 0 else None
        self.attributes = Attributes(config)
        self.atom_norm, self.edge_norm, self.message_norm = (Norm(hidden) for _ in range(3))
        self.sent, self.kept = linear(hidden, hidden, bias=False), linear(hidden, hidden)
        self.edge = linear(hidden, hidden)
        self.message = linear(3 * hidden, hidden)
        self.attention = Attention(config, own_only=ends)
        self.atom_update = Residual(hidden, config.multiplier)
        self.edge_update = None if ends else Residual(hidden, config.multiplier)
        self.share = Share(config)
        self.edge_share = Share(config) if config.direct else None
        self.pull = Pull(config) if config.direct and last else None

    def forward(self, state: State, *blocks: Block) -> State:
        """Atoms (N, ·) → (n, ·), and edges."""
        (block,) = blocks
        if self.start is not None:
            state = self.start(block, state)
        edges = {name: block.own(values) for name, values in state.edges.items()}
        before = {name: block.targets(values) for name, values in state.atoms.items()}
        messages = self._messages(block, state.atoms, edges["features"], before["own"])
        of_edges, of_own = self.attention(block, *messages, edges["extents"])
        features = self.atom_update(before["features"] + of_own)
        atoms = {"features": features, "projected": before["projected"] + self.share(features)}
        if self.edge_update is None:
            return State(atoms, {})
        edges["features"] = self.edge_update(edges["features"] + of_edges)
        if self.edge_share is not None:
            edges["projected"] = edges["projected"] + self.edge_share(edges["features"])
        if self.pull is not None:
            return State(atoms | {"pull": self.pull(block, edges["projected"], edges["extents"])}, {})
        atoms["own"] = self.edge_update(before["own"] + of_own)
        return State(before | atoms, edges)

    def _messages(
        self, block: Block, atoms: dict[str, Tensor], edges_H: Tensor, own_nH: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What edges say to each other, [..., H], and what the own ones do, (n, H)."""
        of_edges, of_own = self.attributes(block, atoms["species"], atoms["orders"])
        normed = self.atom_norm(atoms["features"])
        sent, kept = self.sent(normed), self.kept(block.targets(normed))
        ends = block.at_senders(sent) + block.at_receivers(kept)
        return (
            self._message(of_edges, edges_H, ends),
            self._message(block.targets(of_own), own_nH, block.targets(sent) + kept),
        )

    def _message(self, attributes: Tensor, edges: Tensor, ends: Tensor) -> Tensor:
        """Of attributes, features, and what both ends add up to, [..., H] each: [..., H]."""
        features = gelu(self.edge(self.edge_norm(edges)))
        joined = torch.cat([attributes, features, gelu(ends)], -1)
        result: Tensor = self.message_norm(gelu(self.message(joined)))
        return result


@final
class Pull(nn.Module):
    """Three numbers of each edge, by which components of its direction are multiplied. They turn with nothing."""

    def __init__(self, config: EScAIPConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.offset = nn.Parameter(torch.zeros(hidden, dtype=torch.float64))
        self.norm, self.head_norm = Norm(hidden), Norm(hidden)
        self.head = Head(hidden, config.multiplier, 3)
        self.smooth = config.smooth

    def forward(self, block: Block, projected: Tensor, extents: Tensor) -> Tensor:
        """Edges [..., H] and [...] → their sums at atoms, (n, 3)."""
        factors = self.head(self.head_norm(self.norm(gelu(projected + self.offset))))
        scales = weights(extents, smooth=self.smooth) / block.lengths()
        return block.sum(factors * scales[..., None] * block.vectors)


@final
class Readout(Stage):
    """Energy of each atom from what all layers have added up; its force, where that is read out."""

    spec = StageSpec(hops=0)

    def __init__(self, config: EScAIPConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.offset = nn.Parameter(torch.zeros(hidden, dtype=torch.float64))
        self.norm = Norm(hidden)
        # With gradients upstream has this norm and does not use it.
        self.energy_norm = Norm(hidden) if config.direct else nn.Identity()
        self.energy = Head(hidden, config.multiplier, 1)
        self.force_norm = Norm(hidden) if config.direct else None
        self.force = Head(hidden, config.multiplier, 1) if config.direct else None

    def forward(self, state: State, *blocks: Block) -> State:
        """``projected`` (n, H) → ``energies`` (n,) in eV; and ``pull`` (n, 3) → ``forces`` (n, 3) in eV/Å."""
        del blocks
        x = self.norm(gelu(state.atoms["projected"] + self.offset))
        atoms = {"energies": self.energy(self.energy_norm(x)).squeeze(-1)}
        if self.force is not None and self.force_norm is not None:
            atoms["forces"] = state.atoms["pull"] * self.force(self.force_norm(x))
        return State(atoms, {})
