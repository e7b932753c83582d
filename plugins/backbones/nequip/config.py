"""Sizes and choices of a NequIP."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from ase.data import atomic_numbers

from halocline.errors import BackboneError
from halocline.graph import Radius
from halocline.plugins.equivariance import Irrep, Space, parse_irreps
from halocline.plugins.equivariance.irreps import Irreps

#: Rows of tables over atomic numbers; row 0 is padding.
ROWS = 119

#: The highest degree l of harmonics and features. Published models have 2 or 3.
HIGHEST_DEGREE = 3

#: More channels of an irrep than any model has.
MOST_CHANNELS = 4096

SCALAR = Irrep(0, 1)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NequIPConfig:
    """Everything that defines a NequIP but its weights.

    Attributes:
        species: chemical symbols the model was made for.
        irreps: features between layers, such as ``128x0e+64x1o+32x2e``: each irrep once, scalars 0e among them.
        embedding: channels of the scalars that the first layer finds.
        layers: convolutions.
        max_degree: harmonics have the degrees 0 to this one.
        parity: of the harmonics. With ``natural``, (-1)^l, energies stay under reflections; with ``even`` under
            rotations alone, so that a molecule and its mirror image may differ.
        solid: harmonics are multiplied by r^l (r in Å), as in one published model.
        cutoff: Å.
        bessels: radial functions.
        envelope: that ends them: ``polynomial``, or ``xplor``, which is 1 up to a distance.
        envelope_order: p of the polynomial.
        xplor_from: Å, that distance.
        radial_units: hidden channels of the networks that weigh messages.
        denominator: that sums of messages are divided by.
        normalised: features are divided by their size over all irreps before they are gated; see `Norm`.
        biased: scalars get offsets: those sent, those collected and the energy. With heads, of each head its own.
        heads: names of the heads, two or more; none of a model that has one.
        default_head: the head that counts where none is chosen; None where one has to be.
        head_energies: eV, of each head one number for each species, by which its reference energies exceed the
            model's.
    """

    species: tuple[str, ...]
    irreps: str = "64x0e+32x1o+32x2e"
    embedding: int = 64
    layers: int = 4
    max_degree: int = 2
    parity: Literal["natural", "even"] = "natural"
    solid: bool = False
    cutoff: float = 5.0
    bessels: int = 8
    envelope: Literal["polynomial", "xplor"] = "polynomial"
    envelope_order: int = 6
    xplor_from: float = 0.0
    radial_units: tuple[int, ...] = (64, 64)
    denominator: float = 1.0
    normalised: bool = False
    biased: bool = False
    heads: tuple[str, ...] = ()
    default_head: str | None = None
    head_energies: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        unknown = [s for s in self.species if not 0 < atomic_numbers.get(s, 0) < ROWS]
        if unknown or not self.species or len(set(self.species)) < len(self.species):
            raise BackboneError(f"NequIP needs species as different chemical symbols, not {list(self.species)}.")
        for name in ("embedding", "layers", "bessels"):
            if getattr(self, name) < 1:
                raise BackboneError(f"NequIP's {name} must be at least 1, not {getattr(self, name)}.")
        if not 0 <= self.max_degree <= HIGHEST_DEGREE:
            raise BackboneError(f"NequIP's max_degree must be 0 to {HIGHEST_DEGREE}, not {self.max_degree}.")
        if not all(units > 0 for units in self.radial_units):
            raise BackboneError(f"NequIP's radial_units must be positive, not {list(self.radial_units)}.")
        if not 0.0 < self.denominator < math.inf:
            raise BackboneError(f"NequIP's denominator must be positive, not {self.denominator!r}.")
        self._check_irreps()
        self._check_envelope()
        self._check_heads()

    def _check_irreps(self) -> None:
        irreps = self.features.irreps
        if len(set(irreps)) < len(irreps) or SCALAR not in irreps:
            raise BackboneError(f"NequIP's irreps must be different ones, 0e among them, not {self.irreps!r}.")
        if max(irrep.degree for irrep in irreps) > HIGHEST_DEGREE:
            raise BackboneError(f"NequIP's irreps have degrees up to {HIGHEST_DEGREE}, unlike {self.irreps!r}.")
        if not all(0 < count <= MOST_CHANNELS for count in (*self.features.channels, self.embedding)):
            raise BackboneError(
                f"NequIP's irreps and embedding have 1 to {MOST_CHANNELS} channels, unlike {self.irreps!r} and "
                f"{self.embedding}."
            )
        if self.parity not in ("natural", "even"):
            raise BackboneError(f"NequIP's parity is 'natural' or 'even', not {self.parity!r}.")
        if self.parity == "even" and any(irrep.parity < 0 for irrep in irreps):
            raise BackboneError(f"With the parity 'even', NequIP has no odd irreps such as in {self.irreps!r}.")

    def _check_envelope(self) -> None:
        if self.envelope not in ("polynomial", "xplor"):
            raise BackboneError(f"NequIP's envelope is 'polynomial' or 'xplor', not {self.envelope!r}.")
        if self.envelope_order < 2:
            raise BackboneError(f"NequIP's envelope_order must be at least 2, not {self.envelope_order}.")
        if not 0.0 <= self.xplor_from < self.cutoff:
            raise BackboneError(
                f"NequIP's xplor_from must lie within the cutoff of {self.cutoff} Å, not at {self.xplor_from}."
            )

    def _check_heads(self) -> None:
        count = len(self.heads)
        if count == 1 or len(set(self.heads)) < count or not all(self.heads):
            raise BackboneError(f"NequIP's heads must be two different names or more, or none, not {self.heads}.")
        if count and not self.biased:
            raise BackboneError("NequIP's heads differ by offsets, so a model with heads must be biased.")
        if self.default_head is not None and self.default_head not in self.heads:
            raise BackboneError(f"NequIP's default_head {self.default_head!r} is none of its heads {self.heads}.")
        expected = count * len(self.species)
        if len(self.head_energies) != expected or not all(map(math.isfinite, self.head_energies)):
            raise BackboneError(
                f"NequIP's head_energies must be {expected} numbers of eV for {count} heads, not "
                f"{len(self.head_energies)}."
            )

    @property
    def rule(self) -> Radius:
        """The neighbours that every layer reads."""
        return Radius(self.cutoff)

    @property
    def features(self) -> Space:
        """Features between layers."""
        return Space(tuple(parse_irreps(self.irreps)))

    @property
    def harmonics(self) -> Irreps:
        """Irreps of the harmonics."""
        sign = -1 if self.parity == "natural" else 1
        return tuple(Irrep(degree, sign**degree) for degree in range(self.max_degree + 1))

    def before(self, layer: int) -> Space:
        """What a layer finds: scalars in the first one."""
        return self.after(layer - 1) if layer else Space(((self.embedding, SCALAR),))

    def after(self, layer: int) -> Space:
        """What a layer leaves behind: scalars in the last one, as nobody reads more.

        Irreps that no product reaches yet are left out: in the first layer with natural parity, 1e and 2o.
        """
        if layer == self.layers - 1:
            return self.features.only([SCALAR])
        reached = {
            out
            for irrep in self.before(layer).irreps
            for harmonic in self.harmonics
            for out in irrep.product(harmonic)
        }
        return self.features.only([irrep for irrep in self.features.irreps if irrep in reached])
