"""M3GNet as a backbone, and its three kinds of stage.

Shapes: N atoms read, n atoms written, C features, B radial functions, [...] edges in either form.
C. Chen and S. P. Ong, "A universal graph deep learning interatomic potential for the periodic table",
Nat. Comput. Sci. 2, 718 (2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from halocline.aggregation import Block
from halocline.model import Backbone, Stage, StageSpec, State, Work
from halocline.model.channels import Channels
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.m3gnet.channels import channels_of
from halocline.plugins.backbones.m3gnet.config import ROWS, M3GNetConfig
from halocline.plugins.backbones.m3gnet.mlp import EdgeMLP, GatedMLP
from halocline.plugins.backbones.m3gnet.radial import SmoothBessel, SphericalBessel
from halocline.plugins.backbones.m3gnet.three_body import ThreeBody


@final
class M3GNet(Backbone):
    """Atoms and edges that update each other, with three-body terms; one readout after the last block.

    C. Chen and S. P. Ong, Nat. Comput. Sci. 2, 718 (2022), in the dialects of MatGL and of MatterSim (H. Yang et
    al., arXiv:2405.04967).
    """

    name = "m3gnet"
    numbered_weights = ("embed.table.weight", "embed.scale")

    def __init__(self, config: M3GNetConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config, first=layer == 0) for layer in range(config.layers))
        self.readout = Readout(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `M3GNetConfig`."""
        return cls(read_config(M3GNetConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = M3GNetConfig(
            species=("H", "O"), features=8, units=8, layers=2, max_l=3, max_n=2, cutoff=3.0, threebody_cutoff=2.5
        )
        return to_json(config)

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, after the last block; a pruned model applies it to the features of an earlier one."""
        return {len(self.layers): self.readout}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}

    @property
    def channels(self) -> tuple[Channels, ...]:
        """See `Backbone.channels`."""
        return channels_of(read_config(M3GNetConfig, self.config, self.name))


@final
class Embedding(Stage):
    """One learned vector for each chemical element, and the scale of its energy."""

    spec = StageSpec(hops=0)

    def __init__(self, config: M3GNetConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, config.features, dtype=torch.float64)
        self.scale = nn.Parameter(torch.ones(ROWS, dtype=torch.float64))

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``features`` (N, C) and ``scale`` (N,) in eV."""
        del blocks
        species = state.atoms["species"]
        return State({"features": self.table(species), "scale": self.scale[species]}, {})


@final
class Layer(Stage):
    """A block: three-body terms update edges, atoms update edges, edges update atoms.

    Args:
        config: of the model.
        first: whether this block makes the edges' first features, from the radial basis.
    """

    profiled_as: ClassVar = {
        "forward": Work.UPDATE,
        "edge_weight": Work.RADIAL,
        "atom_weight": Work.RADIAL,
        "edge_update": Work.MESSAGES,
        "atom_update": Work.MESSAGES,
        "three_body": Work.PRODUCT,
        "three_body.harmonics": Work.ANGULAR,
        "three_body.gate": Work.UPDATE,
        "three_body.update": Work.MESSAGES,
    }

    def __init__(self, config: M3GNetConfig, *, first: bool) -> None:
        super().__init__()
        self.spec = StageSpec(hops=config.hops, neighbours=config.rule)
        self.at_end, self.swish_weights = config.sums == "end", not config.matgl
        if config.radial == "smooth":
            self.basis: nn.Module = SmoothBessel(config.max_n, config.cutoff)
            functions = config.max_n
        else:
            self.basis = SphericalBessel(config.max_l, config.max_n, config.cutoff)
            functions = config.max_l * config.max_n
        channels = config.features
        hidden = [config.units] * config.hidden_layers + [channels]
        if first:
            self.encoder = nn.Linear(functions, channels, bias=config.matgl, dtype=torch.float64)
        self.first = first
        self.three_body = ThreeBody(config)
        self.edge_update = EdgeMLP(channels, hidden)
        self.edge_weight = nn.Linear(functions, channels, bias=False, dtype=torch.float64)
        self.atom_update = EdgeMLP(channels, hidden)
        self.atom_weight = nn.Linear(functions, channels, bias=False, dtype=torch.float64)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (N, C) → (n, C), and of edges [..., C]."""
        outer, inner = blocks[0], blocks[-1]
        x_NC, basis = state.atoms["features"], outer.radial(self.basis)
        e_C = silu(self.encoder(basis)) if self.first else outer.own(state.edges["features"])
        e_C = self.three_body(outer, x_NC, e_C)
        e_C = e_C + self.edge_update(outer, x_NC, e_C) * self.edge_weight(basis)
        weights = self.atom_weight(basis)
        messages = self.atom_update(outer, x_NC, e_C) * (silu(weights) if self.swish_weights else weights)
        total = inner.targets(outer.sum_at_senders(messages)) if self.at_end else outer.sum(messages)
        atoms = {"features": inner.targets(x_NC) + total, "scale": _first(inner, state.atoms["scale"])}
        return State(atoms, {"features": e_C})


@final
class Readout(Stage):
    """Energy of each atom from its features."""

    spec = StageSpec(hops=0)

    def __init__(self, config: M3GNetConfig) -> None:
        super().__init__()
        hidden = [config.features, config.units, config.units] if config.matgl else [config.units, config.units]
        self.final = GatedMLP([config.features, *hidden, 1], activate=False)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (n, C) and ``scale`` (n,) → ``energies`` (n,) in eV."""
        del blocks
        return State({"energies": self.final(state.atoms["features"]).squeeze(-1) * state.atoms["scale"]}, {})


def _first(block: Block, values: Tensor) -> Tensor:
    """Values (N,) of the atoms that a block writes."""
    return block.targets(values[:, None]).squeeze(-1)
