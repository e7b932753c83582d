"""SchNet's three kinds of stage.

Shapes: N atoms read, n atoms written, C features, G Gaussians, [...] edges in either form.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.model import Stage, StageSpec, State
from halocline.plugins.backbones.schnet.config import EMBEDDING_ROWS, SchNetConfig
from halocline.plugins.backbones.schnet.radial import GaussianBasis, cosine_envelope, shifted_softplus


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

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=config.rule)
        self.cutoff, self.ends = config.cutoff, config.neighbours == "radius"
        channels = config.features
        self.basis = GaussianBasis(config.cutoff, config.gaussians)
        self.filter_in = _linear(config.gaussians, channels)
        self.filter_out = _linear(channels, channels)
        self.sender = _linear(channels, channels, bias=False)
        self.receiver = _linear(channels, channels)
        self.out = _linear(channels, channels)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (N, C) → (n, C)."""
        (block,) = blocks
        x_NC = state.atoms["features"]
        messages = block.at_senders(self.sender(x_NC)) * block.radial(self._filters)
        update_nC = self.out(shifted_softplus(self.receiver(block.sum(messages))))
        return State({"features": block.targets(x_NC) + update_nC}, {})

    def _filters(self, distances: Tensor) -> Tensor:
        """Filters [..., C] as learned functions of the distances [...]."""
        hidden = shifted_softplus(self.filter_in(self.basis(distances)))
        filters: Tensor = self.filter_out(hidden)
        return filters * cosine_envelope(distances, self.cutoff, ends=self.ends)[..., None]


@final
class Readout(Stage):
    """Energy of each atom from its features."""

    spec = StageSpec(hops=0)

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.hidden = _linear(config.features, config.features // 2)
        self.out = _linear(config.features // 2, 1)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (n, C) → ``energies`` (n,) in eV."""
        del blocks
        hidden = shifted_softplus(self.hidden(state.atoms["features"]))
        return State({"energies": self.out(hidden).squeeze(1)}, {})


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear map in float64 with Glorot weights and no offset, as SchNet is initialised."""
    layer = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
