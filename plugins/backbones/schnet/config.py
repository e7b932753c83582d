"""Sizes and choices of a SchNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from ase.data import atomic_numbers

from halocline.errors import BackboneError
from halocline.graph import Nearest, NeighbourRule, Radius

#: Rows of the embedding: one for each atomic number; row 0 is padding.
EMBEDDING_ROWS = 100


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SchNetConfig:
    """Everything that defines a SchNet but its weights.

    Attributes:
        species: chemical symbols the model was made for.
        features: channels C of the atoms' features.
        gaussians: number G of radial basis functions, evenly spaced from 0 to ``cutoff``.
        layers: interaction blocks.
        cutoff: Å, of the basis and of the cosine envelope.
        neighbours: ``radius``, all atoms within the cutoff, where the envelope ends at zero; or ``nearest``, the
            ``nearest_count`` nearest atoms however far, where the envelope goes on as a cosine.
        nearest_count: k of the ``nearest`` rule.
    """

    species: tuple[str, ...]
    features: int = 100
    gaussians: int = 25
    layers: int = 4
    cutoff: float = 6.0
    neighbours: Literal["radius", "nearest"] = "radius"
    nearest_count: int = 28

    def __post_init__(self) -> None:
        unknown = [s for s in self.species if not 0 < atomic_numbers.get(s, 0) < EMBEDDING_ROWS]
        if unknown or not self.species:
            raise BackboneError(f"SchNet needs species as chemical symbols up to Es, not {list(self.species)}.")
        for name, least in (("features", 2), ("gaussians", 2), ("layers", 1), ("nearest_count", 1)):
            if getattr(self, name) < least:
                raise BackboneError(f"SchNet's {name} must be at least {least}, not {getattr(self, name)}.")
        if self.features % 2:
            raise BackboneError(f"SchNet's features must be an even number, not {self.features}.")
        if self.neighbours not in ("radius", "nearest"):
            raise BackboneError(f"SchNet's neighbours are 'radius' or 'nearest', not {self.neighbours!r}.")

    @property
    def rule(self) -> NeighbourRule:
        """The neighbours that every interaction reads."""
        return Radius(self.cutoff) if self.neighbours == "radius" else Nearest(self.nearest_count)
