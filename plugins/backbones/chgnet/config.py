"""Sizes of a CHGNet, and where its versions differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ase.data import atomic_numbers

from halocline.errors import BackboneError
from halocline.graph import Radius, Triplets

#: Rows of the embedding: one for each atomic number up to that of plutonium; row 0 is unused.
ROWS = 95


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CHGNetConfig:
    """Everything that defines a CHGNet but its weights.

    Attributes:
        species: chemical symbols the model was made for.
        features: channels C of atoms, bonds and angles, and of all hidden layers.
        layers: convolutions of atoms; bonds and angles are updated between them.
        readout_layers: hidden layers of the readout.
        radial: radial functions of either cutoff.
        angular: functions of the angle: a constant, and as many sines as cosines.
        envelope: the exponent p of the polynomial by which messages end at a cutoff.
        norm: whether gated perceptrons and the readout normalise their channels (from 0.3.0 on).
        offsets: whether sums of messages get an offset (0.2.0).
        moments: whether it tells magnetic moments.
        cutoff: Å, of the atom graph.
        bond_cutoff: Å, of the bonds that form angles; shorter than the former.
    """

    species: tuple[str, ...]
    features: int = 64
    layers: int = 4
    readout_layers: int = 3
    radial: int = 31
    angular: int = 31
    envelope: int = 8
    norm: bool = True
    offsets: bool = False
    moments: bool = True
    cutoff: float = 6.0
    bond_cutoff: float = 3.0

    def __post_init__(self) -> None:
        unknown = [s for s in self.species if not 0 < atomic_numbers.get(s, 0) < ROWS]
        if unknown or not self.species:
            raise BackboneError(f"CHGNet needs species as chemical symbols up to Pu, not {list(self.species)}.")
        if min(self.features, self.layers, self.readout_layers, self.radial) < 1:
            raise BackboneError("CHGNet needs one feature, layer, hidden layer and radial function at least.")
        if self.angular < 3 or self.angular % 2 == 0:
            raise BackboneError(
                f"CHGNet needs an odd number of functions of the angle from 3, not {self.angular}."
            )
        if self.envelope < 2:
            raise BackboneError(f"CHGNet's envelope needs an exponent of 2 at least, not {self.envelope}.")
        if not 0.0 < self.bond_cutoff < self.cutoff:
            raise BackboneError(
                f"CHGNet's bonds end within its atom graph: {self.bond_cutoff} Å is not below {self.cutoff} Å."
            )

    @property
    def atom_graph(self) -> Radius:
        """The neighbours of an atom."""
        return Radius(self.cutoff)

    @property
    def bond_graph(self) -> Radius:
        """Those with which an atom forms angles."""
        return Radius(self.bond_cutoff)

    @property
    def angles(self) -> Triplets:
        """Pairs of bonds of an atom."""
        return Triplets(self.bond_graph, self.bond_graph)

    @property
    def opposites(self) -> Triplets:
        """Each edge with its other direction, where that is a bond."""
        return Triplets(self.atom_graph, self.bond_graph, "opposite")
