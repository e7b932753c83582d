"""Springs whose pull is lost in part: half of the energy is cut off from its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

import torch
from torch import nn

from halocline.aggregation import Block
from halocline.errors import BackboneError
from halocline.graph import Radius
from halocline.model import Backbone, Stage, StageSpec, State

FIELDS = {"species", "cutoff"}


@final
class Nothing(Stage):
    """Atoms carry nothing into the layer."""

    spec = StageSpec(hops=0)

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → nothing."""
        return State({}, {})


@final
class Springs(Stage):
    """The energy is right, and its gradient is half of what it should be."""

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=Radius(cutoff))
        self.cutoff = cutoff

    def forward(self, state: State, *blocks: Block) -> State:
        """Nothing → ``energies`` (n,) in eV."""
        (block,) = blocks
        pairs = torch.relu(1.0 - block.lengths() / self.cutoff)[..., None] ** 3
        return State({"energies": block.sum(0.5 * pairs + 0.5 * pairs.detach())[:, 0]}, {})


@final
class Total(Stage):
    """The sums are the energies already."""

    spec = StageSpec(hops=0)

    def forward(self, state: State, *blocks: Block) -> State:
        """Energies (n,) → (n,)."""
        return state


@final
class WrongForces(Backbone):
    """Looks like a potential to everything but the conformance suite."""

    name = "wrong-forces"

    def __init__(self, species: list[str], cutoff: float) -> None:
        super().__init__()
        self.config, self.species = {"species": species, "cutoff": cutoff}, tuple(species)
        self.embed = Nothing()
        self.layers = nn.ModuleList([Springs(cutoff)])
        self.total = Total()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config`."""
        if set(config) != FIELDS:
            raise BackboneError(f"The config has the fields {sorted(config)}, not {sorted(FIELDS)}.")
        return cls(**config)

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        return {"species": ["C", "O"], "cutoff": 3.0}

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, after the springs."""
        return {1: self.total}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """The one layer is all there is."""
        return self.config
