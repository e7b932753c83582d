"""M3GNet's blocks with their edge half in compiled code."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from halocline.aggregation import Block, EdgeBlock, Form
from halocline.model.stage import Stage, State
from halocline.model.work import Work
from halocline.plugins.backbones.m3gnet.backbone import Layer
from halocline.plugins.backbones.m3gnet.mlp import EdgeMLP
from halocline.plugins.backbones.m3gnet.radial import polynomial_envelope
from halocline.plugins.fused import FEWEST_CHANNELS
from halocline.plugins.fused.gates import EDGE_HALF, edge_half
from halocline.plugins.fused.operators import prepare
from halocline.plugins.fused.packing import EdgeWeights, Gated, packed, shares_of_atoms
from halocline.plugins.fused.three_body import THREE_BODY, three_body_sums
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel


@final
class M3GNetEdges(Kernel):
    """Blocks of M3GNet in which edges go through three-body gates and both networks in one operator."""

    version = 1
    forms = frozenset({Form.EDGES})
    devices = ("cpu", "cuda")
    operators = (*EDGE_HALF, *THREE_BODY)

    def suits(self, stage: Stage) -> bool:
        """Whether it is a block of M3GNet."""
        return isinstance(stage, Layer)

    def pays(self, stage: Stage) -> bool:
        """Whether there is enough to compute for each edge."""
        return isinstance(stage, Layer) and stage.edge_update.units >= FEWEST_CHANNELS

    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """See `Kernel.replace`."""
        del form, precision
        assert isinstance(stage, Layer)
        prepare(device, "gates", "three_body")
        return FusedLayer(stage)


@final
class FusedLayer(Stage):
    """A block of M3GNet, its edge half as one operator.

    Args:
        plain: the block; it still runs where edges are padded.
    """

    profiled_as: ClassVar = {
        "forward": Work.MESSAGES,
        "_radial": Work.RADIAL,
        "_three_body": Work.PRODUCT,
        "plain.three_body.gate": Work.UPDATE,
    }

    weights: Tensor
    shares: Tensor
    offsets: Tensor

    def __init__(self, plain: Layer) -> None:
        super().__init__()
        self.spec, self.plain = plain.spec, plain
        networks = plain.edge_update, plain.atom_update
        self.sizes = [networks[0].units, len(networks[0].values) - 1, int(plain.at_end), int(plain.swish_weights)]
        shares, offsets = shares_of_atoms(*zip(*map(_of_atoms, networks), strict=True))
        functions, sums = plain.edge_weight.in_features, plain.three_body.gate.out_features
        self._columns = functions, functions + sums
        self.register_buffer("weights", packed(_of_edges(plain)).detach())
        self.register_buffer("shares", shares.detach())
        self.register_buffer("offsets", offsets.detach())

    def forward(self, state: State, *blocks: Block) -> State:
        """See `Layer.forward`."""
        outer, inner = blocks[0], blocks[-1]
        if not isinstance(outer, EdgeBlock) or outer.mask is not None:
            return self.plain(state, *blocks)
        plain, x_NC = self.plain, state.atoms["features"]
        basis, weights, envelope = outer.radial(self._radial).tensor_split(self._columns, dim=-1)
        sums = self._three_body(outer, x_NC, weights, envelope)
        ends = outer.senders, outer.receivers
        e_C = silu(plain.encoder(basis)) if plain.first else outer.own(state.edges["features"])
        shares = linear(x_NC, self.shares, self.offsets)
        e_C, total = edge_half(e_C, sums, basis, shares, ends, self.weights, outer.n_out, self.sizes)
        total = inner.targets(total) if plain.at_end else total
        atoms = {"features": inner.targets(x_NC) + total, "scale": inner.targets(state.atoms["scale"])}
        return State(atoms, {"features": e_C})

    def _three_body(self, block: EdgeBlock, x_NC: Tensor, weights: Tensor, envelope: Tensor) -> Tensor:
        """The sums of three-body terms on edges, (E, K), from atoms (N, C)."""
        three = self.plain.three_body
        gates, ends = torch.sigmoid(three.gate(x_NC)), (block.senders, block.receivers)
        return three_body_sums(
            *(block.vectors, weights, envelope, gates, ends, block.n_out, three.degrees),
            from_end=three.gate_from_end,
        )

    def _radial(self, distances: Tensor) -> Tensor:
        """Everything of an edge that depends on its length: basis, three-body functions and their envelope."""
        three = self.plain.three_body
        envelope = polynomial_envelope(distances, three.cutoff)[..., None]
        return torch.cat([self.plain.basis(distances), three.radial(distances) * envelope, envelope], dim=-1)


def _of_edges(plain: Layer) -> EdgeWeights:
    networks = plain.edge_update, plain.atom_update
    layers = [[*map(_gated, network.values, network.gates)] for network in networks]
    update = plain.three_body.update
    return EdgeWeights(
        _gated(update.values[0], update.gates[0]),
        Gated(plain.edge_weight.weight, plain.atom_weight.weight),
        [_halves(network.edge.weight) for network in networks],
        [each[:-1] for each in layers],
        [each[-1] for each in layers],
    )


def _of_atoms(network: EdgeMLP) -> tuple[Gated, Gated]:
    """Of centres, with the offsets, and of ends."""
    offsets = network.edge.bias.view(2, network.units)
    return _halves(network.centre.weight, offsets), _halves(network.end.weight)


def _halves(both: Tensor, offsets: Tensor | None = None) -> Gated:
    """Values and gates that are the rows of one matrix."""
    values, gates = both.chunk(2)
    return Gated(values, gates, offsets)


def _gated(values: nn.Module, gates: nn.Module) -> Gated:
    assert isinstance(values, nn.Linear)
    assert isinstance(gates, nn.Linear)
    offsets = None if values.bias is None else torch.stack([values.bias, gates.bias])
    return Gated(values.weight, gates.weight, offsets)
