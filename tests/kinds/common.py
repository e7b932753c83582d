"""What the small backbones share: a table of elements before their layers, a linear readout after them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from halocline.model import Backbone, Stage, StageSpec, State
from halocline.model.config import read_config, to_json


@dataclass(frozen=True, kw_only=True)
class Config:
    """Lengths in Å."""

    species: tuple[str, ...] = ("H", "O")
    cutoff: float = 3.0
    channels: int = 4
    layers: int = 2


def linear(inputs, outputs, *, bias=False):
    return nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)


def envelope(lengths, cutoff):
    """From 1 to 0 at the cutoff, where three derivatives vanish."""
    return (1.0 - (lengths / cutoff).clamp(max=1.0) ** 2) ** 4


class Embed(Stage):
    spec = StageSpec(hops=0)

    def __init__(self, config):
        super().__init__()
        self.table = nn.Embedding(119, config.channels, dtype=torch.float64)

    def forward(self, state, *blocks):
        return State({"x": self.table(state.atoms["species"])}, {})


class Readout(Stage):
    spec = StageSpec(hops=0)

    def __init__(self, config):
        super().__init__()
        self.out = linear(config.channels, 1)

    def forward(self, state, *blocks):
        return State({"energies": self.out(state.atoms["x"]).squeeze(1)}, {})


class KindModel(Backbone):
    """A subclass says what its layers are."""

    layer: type[Stage]

    def __init__(self, config):
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Embed(config)
        self.layers = nn.ModuleList(self.layer(config) for _ in range(config.layers))
        self.readout = Readout(config)

    @classmethod
    def from_config(cls, config):
        return cls(read_config(Config, config, cls.name))

    @classmethod
    def example_config(cls):
        return to_json(Config())

    @property
    def readouts(self):
        return {len(self.layers): self.readout}

    def pruned_config(self, layers):
        return self.config | {"layers": layers}
