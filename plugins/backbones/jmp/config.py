"""Sizes of a JMP, those that were published, and its four lists of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Self, final

from ase.data import atomic_numbers

from halocline.errors import BackboneError, unknown_name
from halocline.graph import Nearest, Quadruplets, Triplets

#: Rows of the embedding: one for each atomic number up to that of oganesson; row 0 is unused.
ROWS: Final = 119

#: What the published sizes differ in.
SIZES: Final = MappingProxyType(
    {
        "S": {},
        "L": {
            "layers": 6,
            "edge": 1024,
            "triplet_out": 128,
            "quadruplet_in": 64,
            "radial": 32,
            "dihedral": 64,
            "concat_layers": 4,
        },
    }
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class JMPConfig:
    """Everything that defines a JMP but its weights. Defaults are those of its smaller size.

    Attributes:
        species: chemical symbols the model was made for.
        layers: interaction blocks.
        atom, edge: features of atoms and of edges.
        triplet_in, triplet_out: features that meet in pairs of edges, and those that come of it.
        quadruplet_in, quadruplet_out: likewise, in chains of three edges.
        pair_in, pair_out: likewise, of atoms.
        radial, angular, dihedral: what functions of the distance, of it and one angle, and of it and two angles
            are projected to.
        gaussians: functions of the distance.
        degrees: Legendre polynomials of each angle.
        envelope: exponent of the envelope.
        before_skip, after_skip, atom_layers, concat_layers: residual layers of edges before and after the old
            features are added, of atoms, and of what edges see of atoms.
        update_layers, output_layers: residual layers of what edges tell atoms, and after these are added to it.
        final_layers: residual layers after all output blocks.
        head_layers: hidden layers of the head, which is fitted to energies.
        cutoff: Å, of all lists and of the envelope.
        main: nearest neighbours that have features; edges that are kept by either end.
        mixed: nearest neighbours in what edges and atoms tell each other.
        close: nearest neighbours in the middle of chains.
        pairs: nearest neighbours in what atoms tell each other.
        softness: least product of the sines of both angles of a chain that has a dihedral angle; below it, its
            cosine goes to zero. Upstream has 1e-9, with which forces of straight chains are infinite.
    """

    species: tuple[str, ...]
    layers: int = 4
    atom: int = 256
    edge: int = 512
    triplet_in: int = 64
    triplet_out: int = 64
    quadruplet_in: int = 32
    quadruplet_out: int = 32
    pair_in: int = 64
    pair_out: int = 64
    radial: int = 16
    angular: int = 16
    dihedral: int = 32
    gaussians: int = 128
    degrees: int = 7
    envelope: int = 5
    before_skip: int = 2
    after_skip: int = 2
    atom_layers: int = 2
    concat_layers: int = 1
    update_layers: int = 3
    output_layers: int = 3
    final_layers: int = 2
    head_layers: int = 4
    cutoff: float = 12.0
    main: int = 30
    mixed: int = 20
    close: int = 8
    pairs: int = 1000
    softness: float = 1e-9

    def __post_init__(self) -> None:
        unknown = [s for s in self.species if not 0 < atomic_numbers.get(s, 0) < ROWS]
        if unknown or not self.species:
            raise BackboneError(f"JMP needs species as chemical symbols, not {list(self.species)}.")
        wide: tuple[str, ...] = ("layers", "atom", "edge", "radial", "angular", "dihedral", "degrees", "envelope")
        wide += tuple(f"{each}_{end}" for each in ("triplet", "quadruplet", "pair") for end in ("in", "out"))
        for name in (*wide, "main", "mixed", "close", "pairs"):
            if getattr(self, name) < 1:
                raise BackboneError(f"JMP's {name} is one at least, not {getattr(self, name)}.")
        for name in ("before_skip", "after_skip", "atom_layers", "concat_layers", "update_layers"):
            if getattr(self, name) < 0:
                raise BackboneError(f"JMP's {name} is not negative, unlike {getattr(self, name)}.")
        if min(self.output_layers, self.final_layers, self.head_layers) < 0:
            raise BackboneError("JMP has no negative number of layers in its outputs and its head.")
        if self.gaussians < 2:
            raise BackboneError(f"JMP needs two functions of the distance at least, not {self.gaussians}.")
        if max(self.main, self.mixed, self.close) > self.pairs:
            raise BackboneError(
                f"JMP's list of pairs has the neighbours of all others: {self.pairs} is below "
                f"{max(self.main, self.mixed, self.close)}."
            )
        if not min(self.cutoff, self.softness) > 0.0:
            raise BackboneError("JMP's cutoff and softness are positive.")

    @classmethod
    def published(cls, size: str, species: Sequence[str], **changes: Any) -> Self:
        """A published size, with fresh weights and without the scales that upstream fitted to them.

        Args:
            size: one of `SIZES`.
            species: chemical symbols.
            changes: other fields.

        Raises:
            UsageError: there is no such size.
        """
        if size not in SIZES:
            raise unknown_name("size of JMP", size, tuple(SIZES))
        return replace(cls(species=tuple(species)), **(dict(SIZES[size]) | changes))

    @property
    def main_list(self) -> Nearest:
        """Edges that have features. Upstream's are kept by the end that has the higher number."""
        return Nearest(self.main, self.cutoff, "either")

    @property
    def mixed_list(self) -> Nearest:
        """Edges along which edges and atoms tell each other something."""
        return Nearest(self.mixed, self.cutoff)

    @property
    def close_list(self) -> Nearest:
        """Edges in the middle of chains."""
        return Nearest(self.close, self.cutoff)

    @property
    def pair_list(self) -> Nearest:
        """Edges along which atoms tell each other something."""
        return Nearest(self.pairs, self.cutoff)

    @property
    def lists(self) -> tuple[Nearest, ...]:
        """All of them; each once."""
        return tuple(dict.fromkeys((self.main_list, self.mixed_list, self.close_list, self.pair_list)))

    @property
    def edge_to_edge(self) -> Triplets:
        """Edges that gather others that end where they end."""
        return Triplets(self.main_list, self.main_list)

    @property
    def atom_to_edge(self) -> Triplets:
        """Edges that gather neighbours of the atom where they end."""
        return Triplets(self.main_list, self.mixed_list)

    @property
    def edge_to_atom(self) -> Triplets:
        """Neighbours of an atom that gather edges which end there."""
        return Triplets(self.mixed_list, self.main_list)

    @property
    def opposites(self) -> Triplets:
        """Edges that see their opposites."""
        return Triplets(self.main_list, self.main_list, "opposite")

    @property
    def chains(self) -> Quadruplets:
        """Edges that gather others two hops away."""
        return Quadruplets(self.main_list, self.close_list, self.main_list)
