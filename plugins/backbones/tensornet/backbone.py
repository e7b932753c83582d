"""TensorNet as a backbone, its first and last stage.

G. Simeon and G. De Fabritiis, "TensorNet: Cartesian Tensor Representations for Efficient Learning of Molecular
Potentials", NeurIPS 2023 (arXiv:2306.06482), in the form of MatGL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.model import Backbone, Stage, StageSpec, State
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.m3gnet.mlp import GatedMLP
from halocline.plugins.backbones.tensornet.config import ROWS, TensorNetConfig
from halocline.plugins.backbones.tensornet.stages import Directions, Interaction
from halocline.plugins.backbones.tensornet.tensors import SIZES, squares


@final
class TensorNet(Backbone):
    """Tensors of rank two on atoms that are multiplied with sums of those of neighbours; one readout at the end.

    Simeon and De Fabritiis, arXiv:2306.06482, for the group O(3).
    """

    name = "tensornet"
    numbered_weights = ("embed.table.weight",)

    def __init__(self, config: TensorNetConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Embedding(config)
        interactions = (Interaction(config) for _ in range(config.layers - 1))
        self.layers = nn.ModuleList([Directions(config), *interactions])
        self.readout = Readout(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `TensorNetConfig`."""
        return cls(read_config(TensorNetConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        return to_json(TensorNetConfig(species=("H", "O"), features=4, layers=2, radial=3, cutoff=3.0))

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, after the last layer; a pruned model applies it to the tensors of an earlier one."""
        return {len(self.layers): self.readout}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}


@final
class Embedding(Stage):
    """One learned vector for each chemical element."""

    spec = StageSpec(hops=0)

    def __init__(self, config: TensorNetConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, config.features, dtype=torch.float64)

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``features`` (N, C)."""
        del blocks
        return State({"features": self.table(state.atoms["species"])}, {})


@final
class Readout(Stage):
    """Energy of each atom from the norms of the three parts of its tensors."""

    spec = StageSpec(hops=0)

    def __init__(self, config: TensorNetConfig) -> None:
        super().__init__()
        channels = config.features
        self.norm = nn.LayerNorm(3 * channels, dtype=torch.float64)
        self.linear = nn.Linear(3 * channels, channels, dtype=torch.float64)
        self.final = GatedMLP([channels, channels, channels, channels, 1], activate=False)

    def forward(self, state: State, *blocks: Block) -> State:
        """``tensors`` (n, 9, C) → ``energies`` (n,) in eV."""
        del blocks
        norms: Tensor = torch.cat([squares(part) for part in torch.split(state.atoms["tensors"], SIZES, 1)], -1)
        return State({"energies": self.final(self.linear(self.norm(norms))).squeeze(-1)}, {})
