"""A layer of CHGNet: bonds and angles as the layer before left them, then atoms, then sums over angles.

A bond i-j has one state that both its directions share: it gathers the angles at i and those at j. The sums at i
are made in the row of i. What the layer before summed up in the row of j is added by the next layer, which reads
that row with its neighbours anyway; so a layer has one hop.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, final

from torch import Tensor

from halocline.aggregation import Block
from halocline.graph import Several
from halocline.model import Stage, StageSpec, State, Work
from halocline.plugins.backbones.chgnet.basis import AngularBasis, RadialBasis
from halocline.plugins.backbones.chgnet.config import CHGNetConfig
from halocline.plugins.backbones.chgnet.gated import AngleMessages, AtomMessages, linear

#: What a layer has for the bonds of the next one; the last layer has none of it.
BETWEEN_LAYERS = (
    "angle_basis",
    "angle_start",
    "angle_update",
    "bond_basis",
    "bond_weight",
    "bond_update",
    "bond_out",
)


class _Geometry(NamedTuple):
    """State of edges and angles between two layers.

    Attributes:
        edges: [..., C], of the atom graph.
        weights: [..., C], of messages along them.
        bonds: [..., C], weights of messages along bonds, of the bond graph; None in the last layer.
        angles: [..., +, C]; None in the last layer.
    """

    edges: Tensor
    weights: Tensor
    bonds: Tensor | None
    angles: Tensor | None


@final
class Layer(Stage):
    """One convolution of atoms, with the update of angles before it and that of bonds after it.

    Args:
        config: of the model.
        number: of the layer, from 0.
    """

    profiled_as: ClassVar = {
        "forward": Work.UPDATE,
        "basis": Work.RADIAL,
        "weight": Work.RADIAL,
        "start": Work.RADIAL,
        "bond_basis": Work.RADIAL,
        "bond_weight": Work.RADIAL,
        "angle_basis": Work.ANGULAR,
        "angle_start": Work.ANGULAR,
        "angle_update": Work.ANGULAR,
        "atom_update": Work.MESSAGES,
        "bond_update": Work.MESSAGES,
    }

    def __init__(self, config: CHGNetConfig, number: int) -> None:
        super().__init__()
        self.first, self.last = number == 0, number == config.layers - 1
        rules = Several((config.atom_graph, config.bond_graph))
        sets = (() if self.first else (config.opposites,)) + (() if self.last else (config.angles,))
        read = () if self.first else ("sums",)
        self.spec = StageSpec(hops=1, neighbours=rules, index_sets=sets, edge_state=read)
        self.bond_graph, self.opposites, self.angles = config.bond_graph, config.opposites, config.angles
        channels, radial = config.features, config.radial
        if self.first:
            self.basis = RadialBasis(radial, config.cutoff, config.envelope)
            self.start = linear(radial, channels, bias=False)
            self.weight = linear(radial, channels, bias=False)
        self.atom_update = AtomMessages(config)
        self.atom_out = linear(channels, channels, bias=config.offsets)
        if self.last:
            return
        if self.first:
            self.bond_basis = RadialBasis(radial, config.bond_cutoff, config.envelope)
            self.bond_weight = linear(radial, channels, bias=False)
            self.angle_basis = AngularBasis(config.angular)
            self.angle_start = linear(config.angular, channels, bias=False)
        else:
            self.angle_update = AngleMessages(config, hidden=False)
        self.bond_update = AngleMessages(config, hidden=True)
        self.bond_out = linear(channels, channels, bias=config.offsets)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (N, C) → (n, C), and what lies between this layer and the next."""
        (block,) = blocks
        x_NC = state.atoms["features"]
        there = self._begin(block) if self.first else self._go_on(block, x_NC, state.edges)
        messages = self.atom_update(block, x_NC, there.edges) * there.weights
        x_nC = block.targets(x_NC) + self.atom_out(block.sum(messages))
        atoms = {"features": x_nC, "before": block.targets(x_NC)}
        return State(atoms, {} if self.last else self._between(block, x_nC, there))

    def _begin(self, block: Block) -> _Geometry:
        """What follows from lengths and angles alone."""
        basis = block.radial(self.basis)
        edges, weights = self.start(basis), self.weight(basis)
        if self.last:
            return _Geometry(edges, weights, None, None)
        bonds = block.within(self.bond_graph)
        angles, directions = block.triplets(self.angles), bonds.vectors / bonds.lengths()[..., None]
        cosines = (angles.at_written(directions) * angles.at_read(directions)).sum(-1)
        shares = self.bond_weight(bonds.radial(self.bond_basis))
        return _Geometry(edges, weights, shares, self.angle_start(self.angle_basis(cosines)))

    def _go_on(self, block: Block, x_NC: Tensor, state: dict[str, Tensor]) -> _Geometry:
        """What the layer before left: bonds that are yet to gather the angles at their other ends, and angles."""
        opposites = block.triplets(self.opposites)
        edges = block.own(state["edges"]) + opposites.sum(opposites.at_read(state["sums"]))
        weights = block.own(state["weights"])
        if self.last:
            return _Geometry(edges, weights, None, None)
        bonds, angles = block.within(self.bond_graph), block.triplets(self.angles)
        shares, before = bonds.own(state["bonds"]), angles.own(state["angles"])
        e_C = block.select(edges, self.bond_graph)
        return _Geometry(edges, weights, shares, before + self.angle_update(bonds, angles, x_NC, e_C, before))

    def _between(self, block: Block, x_nC: Tensor, there: _Geometry) -> dict[str, Tensor]:
        """Sums over the angles of each bond at its receiver; Deng et al., eq. 3."""
        assert there.bonds is not None
        assert there.angles is not None
        bonds, angles = block.within(self.bond_graph), block.triplets(self.angles)
        messages = self.bond_update(bonds, angles, x_nC, block.select(there.edges, self.bond_graph), there.angles)
        sums = angles.sum(messages * angles.at_read(there.bonds)) * there.bonds
        sums = sums @ self.bond_out.weight.T
        edges = there.edges + block.spread(sums, self.bond_graph)
        if self.bond_out.bias is not None:
            edges = edges + self.bond_out.bias
        left = {"edges": edges, "sums": sums, "weights": there.weights}
        return left | {"bonds": there.bonds, "angles": there.angles}
