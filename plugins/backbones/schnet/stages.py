"""SchNet's three kinds of stage.

Shapes: N atoms read, n atoms written, C features.
"""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from halocline.aggregation import Block
from halocline.model import Stage, StageSpec, State
from halocline.plugins.backbones.schnet.config import EMBEDDING_ROWS, SchNetConfig
from halocline.plugins.backbones.schnet.radial import Filters, linear, shifted_softplus


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
        channels = config.features
        self.filters = Filters(config)
        self.sender = linear(channels, channels, bias=False)
        self.receiver = linear(channels, channels)
        self.out = linear(channels, channels)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (N, C) → (n, C)."""
        (block,) = blocks
        x_NC = state.atoms["features"]
        messages_nC = block.convolve(self.sender(x_NC), self.filters)
        update_nC = self.out(shifted_softplus(self.receiver(messages_nC)))
        return State({"features": block.targets(x_NC) + update_nC}, {})


@final
class Readout(Stage):
    """Energy of each atom from its features."""

    spec = StageSpec(hops=0)

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.hidden = linear(config.features, config.features // 2)
        self.out = linear(config.features // 2, 1)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (n, C) → ``energies`` (n,) in eV."""
        del blocks
        hidden = shifted_softplus(self.hidden(state.atoms["features"]))
        return State({"energies": self.out(hidden).squeeze(1)}, {})
