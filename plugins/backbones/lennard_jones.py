"""Lennard-Jones: analytic, and therefore the oracle for geometry, halos and stress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.errors import BackboneError
from halocline.graph import Radius
from halocline.model import Backbone, Stage, StageSpec, State, Work
from halocline.model.config import read_config, to_json

#: The potential is switched off over this last part of the cutoff, so that energy and forces end smoothly.
SWITCHED_PART = 0.2


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LennardJonesConfig:
    """Parameters by element; unlike pairs mix by Lorentz and Berthelot.

    Attributes:
        species: chemical symbols.
        epsilon: depth of each element's well, eV.
        sigma: distance where each element's pair energy is zero, Å.
        cutoff: Å.
    """

    species: tuple[str, ...]
    epsilon: tuple[float, ...]
    sigma: tuple[float, ...]
    cutoff: float

    def __post_init__(self) -> None:
        if not len(self.species) == len(self.epsilon) == len(self.sigma) > 0:
            raise BackboneError("Lennard-Jones needs one epsilon and one sigma for each of its species.")
        if any(symbol not in atomic_numbers for symbol in self.species):
            raise BackboneError(f"Lennard-Jones needs species as chemical symbols, not {list(self.species)}.")


@final
class Parameters(Stage):
    """The stage that looks up each atom's parameters."""

    spec = StageSpec(hops=0)
    epsilon: Tensor
    sigma: Tensor

    def __init__(self, config: LennardJonesConfig) -> None:
        super().__init__()
        numbers = [atomic_numbers[symbol] for symbol in config.species]
        for name in ("epsilon", "sigma"):
            table = torch.zeros(len(chemical_symbols), dtype=torch.float64)
            table[numbers] = torch.tensor(getattr(config, name), dtype=torch.float64)
            self.register_buffer(name, table, persistent=False)

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``root_epsilon`` (N, 1) in eV^½ and ``sigma`` (N, 1) in Å."""
        del blocks
        species = state.atoms["species"]
        root_epsilon, sigma = self.epsilon.sqrt()[species], self.sigma[species]
        return State({"root_epsilon": root_epsilon[:, None], "sigma": sigma[:, None]}, {})


@final
class Pairs(Stage):
    """Half of each pair's energy goes to either atom."""

    profiled_as: ClassVar = {"forward": Work.RADIAL}

    def __init__(self, config: LennardJonesConfig) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=Radius(config.cutoff))
        self.cutoff = config.cutoff

    def forward(self, state: State, *blocks: Block) -> State:
        """Parameters (N, 1) → ``energies`` (n,) in eV: ½ Σ 4 √(ε_i ε_j) (s¹² - s⁶), s = (σ_i + σ_j) / 2r."""
        (block,) = blocks
        distances = block.lengths()[..., None]
        root, sigma = state.atoms["root_epsilon"], state.atoms["sigma"]
        depth = block.at_senders(root) * block.at_receivers(root)
        s6 = ((block.at_senders(sigma) + block.at_receivers(sigma)) * 0.5 / distances) ** 6
        pairs = 2.0 * depth * (s6 * s6 - s6) * _switch(distances, self.cutoff)
        return State({"energies": block.sum(pairs).squeeze(1)}, {})


@final
class Total(Stage):
    """The pair sums are the energies already."""

    spec = StageSpec(hops=0)

    def forward(self, state: State, *blocks: Block) -> State:
        """Hand ``energies`` (n,) on: the pairs have added them up."""
        del blocks
        return state


@final
class LennardJones(Backbone):
    """J. E. Lennard-Jones, Proc. R. Soc. A 106, 463 (1924), switched off smoothly before its cutoff."""

    name = "lennard-jones"

    def __init__(self, config: LennardJonesConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Parameters(config)
        self.layers = nn.ModuleList([Pairs(config)])
        self.total = Total()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `LennardJonesConfig`."""
        return cls(read_config(LennardJonesConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """Argon and krypton, nearly; see `Backbone.example_config`."""
        config = LennardJonesConfig(species=("Ar", "Kr"), epsilon=(0.0103, 0.0141), sigma=(3.4, 3.65), cutoff=8.5)
        return to_json(config)

    @property
    def readouts(self) -> dict[int, Stage]:
        """The one readout, after the pairs."""
        return {1: self.total}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """Its one layer is all there is."""
        assert layers == 1
        return self.config


def _switch(distances: Tensor, cutoff: float) -> Tensor:
    """From 1 to 0 with two continuous derivatives: 1 - 10 t³ + 15 t⁴ - 6 t⁵ over the switched part."""
    start = (1.0 - SWITCHED_PART) * cutoff
    t = ((distances - start) / (cutoff - start)).clamp(0.0, 1.0)
    return 1.0 - t * t * t * (10.0 + t * (6.0 * t - 15.0))
