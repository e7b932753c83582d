"""Sizes of a TensorNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ase.data import atomic_numbers

from halocline.errors import BackboneError
from halocline.graph import Radius

#: Rows of the embedding: one for each atomic number up to that of plutonium; row 0 is unused.
ROWS = 95


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TensorNetConfig:
    """Everything that defines a TensorNet but its weights.

    Attributes:
        species: chemical symbols the model was made for.
        features: channels C, of tensors and of all hidden layers.
        layers: sums over neighbours: the first makes tensors of directions, the others are interactions.
        radial: radial functions.
        cutoff: Å.
    """

    species: tuple[str, ...]
    features: int = 128
    layers: int = 3
    radial: int = 3
    cutoff: float = 5.0

    def __post_init__(self) -> None:
        unknown = [s for s in self.species if not 0 < atomic_numbers.get(s, 0) < ROWS]
        if unknown or not self.species:
            raise BackboneError(f"TensorNet needs species as chemical symbols up to Pu, not {list(self.species)}.")
        if min(self.features, self.layers, self.radial) < 1:
            raise BackboneError("TensorNet needs one feature, layer and radial function at least.")
        if not self.cutoff > 0.0:
            raise BackboneError(f"TensorNet's cutoff must be positive, not {self.cutoff!r} Å.")

    @property
    def rule(self) -> Radius:
        """The neighbours that every layer reads."""
        return Radius(self.cutoff)
