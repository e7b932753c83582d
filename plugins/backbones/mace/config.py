"""Sizes and choices of a MACE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from ase.data import atomic_numbers

from halocline.errors import BackboneError
from halocline.graph import Radius
from halocline.plugins.equivariance.irreps import Irreps, natural_irreps
from halocline.plugins.equivariance.symmetric import HIGHEST_ORDER

#: Rows of tables over atomic numbers; row 0 is padding.
ROWS = 119

#: The highest degree l of harmonics, and of features between layers. Published models have 3, and 0 to 2.
HIGHEST_DEGREE = 3

Block = Literal["agnostic", "residual"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MACEConfig:
    """Everything that defines a MACE but its weights.

    Attributes:
        species: chemical symbols the model was made for.
        channels: C, of every irrep.
        hidden_degree: features between layers have the degrees 0 to this one, with natural parity.
        max_degree: harmonics and messages have the degrees 0 to this one.
        correlation: the highest power of messages in the products, so the body order less one.
        layers: interactions, each with its product and its readout.
        first_block: of the first layer. ``agnostic``: a matrix for each species acts on messages. ``residual``:
            it carries the features past the layer instead.
        later_blocks: of all other layers.
        density: messages are divided by one and a learned, smooth number of neighbours, not by a constant.
        cutoff: Å.
        bessels: radial functions.
        envelope_order: p of the polynomial envelope.
        agnesi: distances are transformed by the covalent radii before the radial functions see them.
        repulsion: a screened nuclear repulsion (ZBL) is added.
        radial_units: hidden channels of the networks that weigh messages, layer by layer.
        readout_units: hidden channels of the last readout.
        last_readout: a ``perceptron``; or ``linear``, like all before it.
        average_neighbours: that messages are divided by, unless by the density.
        scale: eV, of everything that readouts and repulsion give.
        heads: names of the heads, two or more; none of a model that has one.
        default_head: the head that counts where none is chosen; None where one has to be.
        head_scales: eV, of each head, in the place of `scale`.
        head_energies: eV, of each head one number for each species, by which its reference energies exceed the
            model's.
    """

    species: tuple[str, ...]
    channels: int = 64
    hidden_degree: int = 1
    max_degree: int = 3
    correlation: int = 3
    layers: int = 2
    first_block: Block = "residual"
    later_blocks: Block = "residual"
    density: bool = False
    cutoff: float = 5.0
    bessels: int = 8
    envelope_order: int = 5
    agnesi: bool = False
    repulsion: bool = False
    radial_units: tuple[int, ...] = (64, 64, 64)
    readout_units: int = 16
    last_readout: Literal["perceptron", "linear"] = "perceptron"
    average_neighbours: float = 1.0
    scale: float = 1.0
    heads: tuple[str, ...] = ()
    default_head: str | None = None
    head_scales: tuple[float, ...] = ()
    head_energies: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        unknown = [s for s in self.species if not 0 < atomic_numbers.get(s, 0) < ROWS]
        if unknown or not self.species or len(set(self.species)) < len(self.species):
            raise BackboneError(f"MACE needs species as different chemical symbols, not {list(self.species)}.")
        for name in ("channels", "correlation", "layers", "bessels", "readout_units"):
            if getattr(self, name) < 1:
                raise BackboneError(f"MACE's {name} must be at least 1, not {getattr(self, name)}.")
        if not 0 <= self.hidden_degree <= self.max_degree <= HIGHEST_DEGREE:
            raise BackboneError(
                f"MACE's degrees must be 0 ≤ hidden_degree ≤ max_degree ≤ {HIGHEST_DEGREE}, not "
                f"{self.hidden_degree} and {self.max_degree}."
            )
        if self.correlation > HIGHEST_ORDER:
            raise BackboneError(f"MACE's correlation is at most {HIGHEST_ORDER} here, not {self.correlation}.")
        if self.envelope_order < 2:
            raise BackboneError(f"MACE's envelope_order must be at least 2, not {self.envelope_order}.")
        if not all(units > 0 for units in self.radial_units):
            raise BackboneError(f"MACE's radial_units must be positive, not {list(self.radial_units)}.")
        self._check_choices()

    def _check_choices(self) -> None:
        blocks = ("agnostic", "residual")
        choices = {
            "first_block": blocks,
            "later_blocks": blocks,
            "last_readout": ("perceptron", "linear"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise BackboneError(
                    f"MACE's {name} is {' or '.join(map(repr, allowed))}, not {getattr(self, name)!r}."
                )
        if not 0.0 < self.average_neighbours < math.inf:
            raise BackboneError(f"MACE's average_neighbours must be positive, not {self.average_neighbours!r}.")
        if not math.isfinite(self.scale):
            raise BackboneError(f"MACE's scale must be a number of eV, not {self.scale!r}.")
        self._check_heads()

    def _check_heads(self) -> None:
        count = len(self.heads)
        if count == 1 or len(set(self.heads)) < count or not all(self.heads):
            raise BackboneError(f"MACE's heads must be two different names or more, or none, not {self.heads}.")
        if self.default_head is not None and self.default_head not in self.heads:
            raise BackboneError(f"MACE's default_head {self.default_head!r} is none of its heads {self.heads}.")
        for name, expected in (("head_scales", count), ("head_energies", count * len(self.species))):
            values = getattr(self, name)
            if len(values) != expected or not all(map(math.isfinite, values)):
                raise BackboneError(
                    f"MACE's {name} must be {expected} numbers of eV for {count} heads, not {len(values)}."
                )

    @property
    def rule(self) -> Radius:
        """The neighbours that every layer reads."""
        return Radius(self.cutoff)

    @property
    def harmonics(self) -> Irreps:
        """Irreps of harmonics and of messages."""
        return natural_irreps(self.max_degree)

    def features_before(self, layer: int) -> Irreps:
        """Irreps that a layer finds: scalars in the first one."""
        return natural_irreps(self.hidden_degree if layer else 0)

    def features_after(self, layer: int) -> Irreps:
        """Irreps that a layer leaves behind: scalars in the last one, as nobody reads more."""
        return natural_irreps(self.hidden_degree if layer < self.layers - 1 else 0)

    def residual(self, layer: int) -> bool:
        """Whether features are carried past a layer."""
        return (self.later_blocks if layer else self.first_block) == "residual"
