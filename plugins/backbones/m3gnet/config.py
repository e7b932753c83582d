"""Sizes of an M3GNet, and where its two dialects differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from ase.data import atomic_numbers

from halocline.errors import BackboneError
from halocline.graph import Radius

#: Rows of the embedding and of the scales: one for each atomic number up to that of plutonium; row 0 is unused.
ROWS = 95

#: Radial functions of each degree. Their roots are searched one by one; published models have three or four.
MOST_RADIAL = 64

#: The highest degree l that there are spherical harmonics of.
HIGHEST_DEGREE = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class M3GNetConfig:
    """Everything that defines an M3GNet but its weights.

    Edges lead from a centre, in whose three-body terms they take part, to an end. Both dialects share the order
    of updates (three-body, edges, atoms); this is what sets them apart:

    ====================  =========================================  ===================================
    ..                    ``matgl``                                  ``mattersim``
    ====================  =========================================  ===================================
    radial basis          ``bessel`` or ``smooth``                   ``smooth``
    three-body radial     the same family, l-major                   ``bessel``
    three-body gate       from the third atom (eq. 2 of the paper)   from the centre
    edge embedding        with an offset                             without
    weights of messages   linear in the basis                        linear for edges, swish for atoms
    layers of the MLPs    three; four in the readout                 two; three in the readout
    atoms sum messages    at the end of the edge (``sums``)          at its centre
    output                times one scale                            times a scale for each element
    ====================  =========================================  ===================================

    Attributes:
        species: chemical symbols the model was made for.
        dialect: see the table.
        sums: where atoms sum messages. At the ``end`` a block reaches two hops: the message along an edge depends
            on the other neighbours of its centre. At the ``centre`` it reaches one.
        radial: of edges, ``smooth`` or ``bessel``.
        features: channels C of atoms and of edges.
        units: hidden channels U.
        layers: blocks.
        max_l: degrees of the angular basis, 0 to max_l - 1.
        max_n: radial functions of each degree.
        cutoff: Å, of edges.
        threebody_cutoff: Å, of edges that take part in three-body terms.
    """

    species: tuple[str, ...]
    dialect: Literal["matgl", "mattersim"] = "matgl"
    sums: Literal["end", "centre"] = "end"
    radial: Literal["bessel", "smooth"] = "smooth"
    features: int = 64
    units: int = 64
    layers: int = 3
    max_l: int = 3
    max_n: int = 3
    cutoff: float = 5.0
    threebody_cutoff: float = 4.0

    def __post_init__(self) -> None:
        unknown = [s for s in self.species if not 0 < atomic_numbers.get(s, 0) < ROWS]
        if unknown or not self.species:
            raise BackboneError(f"M3GNet needs species as chemical symbols up to Pu, not {list(self.species)}.")
        if min(self.features, self.units, self.layers, self.max_l, self.max_n) < 1:
            raise BackboneError("M3GNet needs one feature, unit, layer, degree and radial function at least.")
        if self.max_l > HIGHEST_DEGREE + 1:
            raise BackboneError(f"M3GNet's max_l is at most {HIGHEST_DEGREE + 1} here, not {self.max_l}.")
        if self.max_n > MOST_RADIAL:
            raise BackboneError(f"M3GNet's max_n is at most {MOST_RADIAL} here, not {self.max_n}.")
        if not 0.0 < self.threebody_cutoff <= self.cutoff:
            raise BackboneError(
                f"M3GNet's three-body cutoff, {self.threebody_cutoff!r} Å, must be positive and at most that of "
                f"edges, {self.cutoff!r} Å."
            )
        self._check_choices()

    def _check_choices(self) -> None:
        choices = {"dialect": ("matgl", "mattersim"), "sums": ("end", "centre"), "radial": ("bessel", "smooth")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise BackboneError(
                    f"M3GNet's {name} is {' or '.join(map(repr, allowed))}, not {getattr(self, name)!r}."
                )
        if self.dialect == "mattersim" and (self.sums, self.radial) != ("centre", "smooth"):
            raise BackboneError(
                "The mattersim dialect of M3GNet sums at the centre and has a smooth radial basis."
            )

    @property
    def rule(self) -> Radius:
        """The neighbours that every block reads."""
        return Radius(self.cutoff)

    @property
    def hops(self) -> int:
        """Hops from which the state of an atom after a block depends on that before it."""
        return 2 if self.sums == "end" else 1

    @property
    def matgl(self) -> bool:
        """Whether this is the dialect of MatGL."""
        return self.dialect == "matgl"

    @property
    def hidden_layers(self) -> int:
        """Dense layers of the perceptrons on edges after their first one, which has a form of its own."""
        return 2 if self.matgl else 1
