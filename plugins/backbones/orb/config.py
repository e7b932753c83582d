"""Sizes of an ORB, and where its versions differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from ase.data import atomic_numbers

from halocline.errors import BackboneError
from halocline.graph import Nearest

#: Rows of the embedding: one for each atomic number up to that of oganesson; row 0 is unused.
ROWS: Final = 119

#: Functions of the distance of an edge: Gaussians half an Å apart, or spherical Bessel functions.
GAUSSIANS, BESSELS = 20, 8

#: The highest degree of the spherical harmonics of an edge.
MAX_DEGREE = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ORBConfig:
    """Everything that defines an ORB but its weights.

    Attributes:
        species: chemical symbols the model was made for.
        version: 2 has Gaussians and directions of edges, shifted softplus and layer normalisation; 3 has Bessel
            functions times spherical harmonics, SiLU and normalisation by the root mean square.
        forces: ``conservative``, derivatives of the energy, or ``direct``, which are none.
        stress: whether a model of direct forces says what the stress is; others derive it.
        energy: ``mean``: a network on the mean of the atoms' features, as in all published models; ``atoms``: the
            sum of the same network on the features of each atom, which is an energy of each atom.
        repulsion: whether nuclei repel each other, as upstream has it from version 3 on.
        charged: whether the model is told charge and spin multiplicity.
        features: channels C of atoms and edges; a multiple of 4.
        hidden: channels of the two hidden layers of each update.
        head_hidden: channels of the hidden layer of heads.
        layers: updates of edges and atoms.
        neighbours: to how many of its nearest ones an atom sends; 120 in models that upstream calls unlimited.
        cutoff: Å.

    Raises:
        BackboneError: a species is unknown, there is no such version or kind of forces or energy, a stress is told
            where it is derived, a size is below one, features for charge and spin come in no fours, or the cutoff
            is not positive.
    """

    species: tuple[str, ...]
    version: int = 3
    forces: str = "conservative"
    stress: bool = False
    energy: str = "mean"
    repulsion: bool = True
    charged: bool = False
    features: int = 256
    hidden: int = 1024
    head_hidden: int = 256
    layers: int = 5
    neighbours: int = 120
    cutoff: float = 6.0

    def __post_init__(self) -> None:
        # Nuclei repel each other as those of the next element do.
        last = ROWS - 2 if self.repulsion else ROWS - 1
        unknown = [s for s in self.species if not 0 < atomic_numbers.get(s, 0) <= last]
        if unknown or not self.species:
            raise BackboneError(
                f"ORB needs species as chemical symbols up to atomic number {last}, not {list(self.species)}."
            )
        if self.version not in (2, 3):
            raise BackboneError(f"ORB's version is 2 or 3, not {self.version}.")
        if self.forces not in ("conservative", "direct"):
            raise BackboneError(f"ORB's forces are 'conservative' or 'direct', not {self.forces!r}.")
        if self.energy not in ("mean", "atoms"):
            raise BackboneError(f"ORB's energy is one of the 'mean' or of the 'atoms', not of {self.energy!r}.")
        if self.stress and (self.is_conservative or self.energy == "atoms"):
            raise BackboneError(
                "ORB says what the stress is beside direct forces and an energy of the 'mean', and derives it "
                "from conservative ones; leave stress out."
            )
        if min(self.features, self.hidden, self.head_hidden, self.layers, self.neighbours) < 1:
            raise BackboneError("ORB needs one feature, hidden channel, layer and neighbour at least.")
        if self.charged and self.features % 4:
            raise BackboneError(
                f"ORB tells charge and spin by a sine and a cosine each: {self.features} features are no multiple "
                "of 4."
            )
        if not self.cutoff > 0.0:
            raise BackboneError(f"ORB's cutoff is a positive length in Å, not {self.cutoff}.")

    @property
    def is_conservative(self) -> bool:
        """Whether forces are derivatives of the energy."""
        return self.forces == "conservative"

    @property
    def rule(self) -> Nearest:
        """Each atom sends to its nearest neighbours within the cutoff."""
        return Nearest(self.neighbours, self.cutoff, "sender")

    @property
    def edge_inputs(self) -> int:
        """What the first features of an edge are made of."""
        return GAUSSIANS + 3 if self.version == 2 else BESSELS * (MAX_DEGREE + 1) ** 2
