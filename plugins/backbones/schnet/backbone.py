"""SchNet as a backbone, and its three kinds of stage.

Shapes: N atoms read, n atoms written, C features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.model import Backbone, Stage, StageSpec, State, Work
from halocline.model.channels import Channels
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.schnet.channels import channels_of
from halocline.plugins.backbones.schnet.config import EMBEDDING_ROWS, SchNetConfig
from halocline.plugins.backbones.schnet.radial import Filters, ShiftedSoftplus, linear


@final
class SchNet(Backbone):
    """Continuous-filter convolutions over distances.

    K. T. Schütt et al., J. Chem. Phys. 148, 241722 (2018), in the parametrisation of the water-cluster work:
    J. A. Bilbrey et al., J. Chem. Phys. 153, 024302 (2020); H. Helal et al., J. Chem. Inf. Model. 64, 1568 (2024).
    """

    name = "schnet"
    numbered_weights = ("embed.table.weight",)

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Interaction(config) for _ in range(config.layers))
        self.readout = Readout(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `SchNetConfig`."""
        return cls(read_config(SchNetConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = SchNetConfig(species=("H", "O"), features=16, gaussians=12, layers=3, cutoff=3.0)
        return to_json(config)

    @classmethod
    def renewed_weights(cls, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.renewed_weights`: filters became a module of their own."""
        renamed = {".filter_in.": ".filters.hidden.", ".filter_out.": ".filters.out."}
        return {_replaced(name, renamed): values for name, values in weights.items()}

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, after the last layer."""
        return {len(self.layers): self.readout}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}

    @property
    def channels(self) -> tuple[Channels, ...]:
        """See `Backbone.channels`."""
        return channels_of(self.config["features"], len(self.layers))


def _replaced(name: str, parts: Mapping[str, str]) -> str:
    for old, new in parts.items():
        name = name.replace(old, new)
    return name


@final
class Embedding(Stage):
    """One learned vector for each chemical element."""

    spec = StageSpec(hops=0)

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(EMBEDDING_ROWS, config.features, padding_idx=0, dtype=torch.float64)

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``features`` (N, C)."""
        del blocks
        return State({"features": self.table(state.atoms["species"])}, {})


@final
class Interaction(Stage):
    """Continuous-filter convolution with a residual connection; eq. 2–4 of the SchNet paper."""

    profiled_as: ClassVar = {"forward": Work.UPDATE}

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=config.rule)
        channels = config.features
        self.filters = Filters(config)
        self.sender = linear(channels, channels, bias=False)
        self.receiver = linear(channels, channels)
        self.activation = ShiftedSoftplus()
        self.out = linear(channels, channels)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (N, C) → (n, C)."""
        (block,) = blocks
        x_NC = state.atoms["features"]
        messages_nC = block.convolve(self.sender(x_NC), self.filters)
        update_nC = self.out(self.activation(self.receiver(messages_nC)))
        return State({"features": block.targets(x_NC) + update_nC}, {})


@final
class Readout(Stage):
    """Energy of each atom from its features."""

    spec = StageSpec(hops=0)

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.hidden = linear(config.features, config.features // 2)
        self.activation = ShiftedSoftplus()
        self.out = linear(config.features // 2, 1)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (n, C) → ``energies`` (n,) in eV."""
        del blocks
        hidden = self.activation(self.hidden(state.atoms["features"]))
        return State({"energies": self.out(hidden).squeeze(1)}, {})
