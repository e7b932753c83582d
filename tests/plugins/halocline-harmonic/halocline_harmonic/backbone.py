"""Springs between neighbours: a trainable pair potential with one layer.

Shapes: N atoms read, n atoms written, [...] edges in either form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.errors import BackboneError
from halocline.graph import Radius
from halocline.model import Backbone, Stage, StageSpec, State
from halocline.model.config import read_config, to_json


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HarmonicConfig:
    """Sizes of the springs.

    Attributes:
        species: chemical symbols.
        cutoff: Å.
        stiffness: eV/Å², before training.
    """

    species: tuple[str, ...]
    cutoff: float
    stiffness: float = 1.0

    def __post_init__(self) -> None:
        if not self.species or any(symbol not in atomic_numbers for symbol in self.species):
            raise BackboneError(f"Springs need species as chemical symbols, not {list(self.species)}.")


@final
class Radii(Stage):
    """Look up each atom's covalent radius."""

    spec = StageSpec(hops=0)
    radii: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("radii", torch.tensor(covalent_radii, dtype=torch.float64), persistent=False)

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``radius`` (N, 1) in Å."""
        return State({"radius": self.radii[state.atoms["species"]][:, None]}, {})


@final
class Springs(Stage):
    """Half of each spring's energy goes to either atom."""

    def __init__(self, config: HarmonicConfig) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=Radius(config.cutoff))
        self.cutoff = config.cutoff
        self.stiffness = nn.Parameter(torch.tensor(config.stiffness, dtype=torch.float64))

    def forward(self, state: State, *blocks: Block) -> State:
        """``radius`` (N, 1) → ``energies`` (n,) in eV: ¼ k Σ (r - r_i - r_j)² (1 - r²/r_c²)³."""
        (block,) = blocks
        radius = state.atoms["radius"]
        distance = block.lengths()[..., None]
        stretch = distance - block.at_senders(radius) - block.at_receivers(radius)
        springs = 0.25 * self.stiffness * stretch**2 * (1.0 - (distance / self.cutoff) ** 2) ** 3
        return State({"energies": block.sum(springs)[:, 0]}, {})


@final
class Total(Stage):
    """The sums of springs are the energies already."""

    spec = StageSpec(hops=0)

    def forward(self, state: State, *blocks: Block) -> State:
        """``energies`` (n,) → ``energies`` (n,)."""
        return state


@final
class Harmonic(Backbone):
    """Springs at rest when two atoms are as far apart as their covalent radii say."""

    name = "harmonic"

    def __init__(self, config: HarmonicConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Radii()
        self.layers = nn.ModuleList([Springs(config)])
        self.total = Total()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `HarmonicConfig`."""
        return cls(read_config(HarmonicConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        return {"species": ["C", "O"], "cutoff": 3.0, "stiffness": 2.0}

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, after the springs."""
        return {1: self.total}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """The one layer is all there is."""
        return self.config
