"""CHGNet as a backbone, its first and last stage.

Shapes: N atoms read, n atoms written, C features, [...] edges in either form, [..., +] angles.
B. Deng, P. Zhong, K. Jun, J. Riebesell, K. Han, C. J. Bartel and G. Ceder, "CHGNet as a pretrained universal
neural network potential for charge-informed atomistic modelling", Nat. Mach. Intell. 5, 1031 (2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from halocline.aggregation import Block
from halocline.model import Backbone, Stage, StageSpec, State
from halocline.model.backbone import Output
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.chgnet.config import ROWS, CHGNetConfig
from halocline.plugins.backbones.chgnet.gated import ChannelNorm, linear
from halocline.plugins.backbones.chgnet.layer import BETWEEN_LAYERS, Layer


@final
class CHGNet(Backbone):
    """Atoms, bonds and angles that update each other; energies after the last layer, moments before it.

    Deng et al., Nat. Mach. Intell. 5, 1031 (2023).
    """

    name = "chgnet"
    numbered_weights = ("embed.table.weight",)

    def __init__(self, config: CHGNetConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.outputs = (Output.ENERGIES, Output.MAGMOMS) if config.moments else (Output.ENERGIES,)
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.layers))
        self.readout = Readout(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `CHGNetConfig`."""
        return cls(read_config(CHGNetConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = CHGNetConfig(
            species=("H", "O"),
            features=4,
            layers=2,
            readout_layers=1,
            radial=3,
            angular=3,
            envelope=5,
            cutoff=3.0,
            bond_cutoff=2.6,
        )
        return to_json(config)

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, after the last layer; a pruned model applies it to the features of an earlier one."""
        return {len(self.layers): self.readout}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}

    def pruned_weights(self, layers: int) -> dict[str, Tensor]:
        """See `Backbone.pruned_weights`; nothing updates bonds after what is now the last layer."""
        weights = super().pruned_weights(layers)
        if layers == len(self.layers):
            return weights
        dropped = tuple(f"layers.{layers - 1}.{name}." for name in BETWEEN_LAYERS)
        return {name: tensor for name, tensor in weights.items() if not name.startswith(dropped)}

    def energies_only_config(self) -> dict[str, Any]:
        """See `Backbone.energies_only_config`."""
        return self.config | {"moments": False}

    def energies_only_weights(self) -> dict[str, Tensor]:
        """See `Backbone.energies_only_weights`."""
        return {name: each for name, each in self.state_dict().items() if not name.startswith("readout.moment.")}


@final
class Embedding(Stage):
    """One learned vector for each chemical element."""

    spec = StageSpec(hops=0)

    def __init__(self, config: CHGNetConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, config.features, dtype=torch.float64)

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``features`` (N, C)."""
        del blocks
        return State({"features": self.table(state.atoms["species"])}, {})


@final
class Readout(Stage):
    """Energy of each atom from its features, and its magnetic moment from those before the last layer."""

    spec = StageSpec(hops=0)

    def __init__(self, config: CHGNetConfig) -> None:
        super().__init__()
        channels = config.features
        self.norm: nn.Module = ChannelNorm(channels) if config.norm else nn.Identity()
        self.hidden = nn.ModuleList(linear(channels, channels) for _ in range(config.readout_layers))
        self.energy = linear(channels, 1)
        self.moment = linear(channels, 1) if config.moments else None

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` and ``before`` (n, C) → ``energies`` (n,) in eV and, if told, ``magmoms`` (n,) in μB."""
        del blocks
        x = self.norm(state.atoms["features"])
        for layer in self.hidden:
            x = silu(layer(x))
        energies = {"energies": self.energy(x).squeeze(-1)}
        if self.moment is None:
            return State(energies, {})
        return State(energies | {"magmoms": torch.abs(self.moment(state.atoms["before"])).squeeze(-1)}, {})
