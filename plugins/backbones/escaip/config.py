"""Sizes of an EScAIP, those that were published, and where its energy is smoother than theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal, Self, final

from ase.data import atomic_numbers

from halocline.errors import BackboneError, unknown_name
from halocline.graph import Nearest

#: Rows of the embeddings: one for each atomic number up to that of meitnerium; row 0 is unused.
ROWS = 110

#: Published sizes: hidden features, layers, heads. Upstream calls the last one H640L10, with six layers in it.
SIZES: Final = MappingProxyType({"H1024L8": (1024, 8, 16), "H512L10": (512, 10, 8), "H640L6": (640, 6, 10)})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EScAIPConfig:
    """Everything that defines an EScAIP but its weights.

    Attributes:
        species: chemical symbols the model was made for.
        hidden: features H of atoms and edges; each head has as many of them as ``frequencies`` add up to.
        heads: of the attention.
        layers: blocks of attention.
        frequencies: of the features of a head, how many meet each other weighted by P_0, P_1, ... of the angle.
        embedding: features of a chemical element.
        orders: bond-orientational orders of each atom, from l = 0 on.
        order_embedding: features of these.
        gaussians: functions of the distance.
        distance_embedding: features of these.
        multiplier: width of hidden layers, of H.
        cutoff: Å.
        nearest: k; neighbours fade out where their smooth rank reaches it, at either end.
        capacity: neighbours of an atom that are looked at, the nearest ones.
        softness: Å; within π times as much, ranks of two neighbours mix.
        sharpness: of the smooth maximum of both ranks and of the distance.
        smooth: whether the envelope weights neighbours in orders and in direct forces as well, and ranks have
            three derivatives. Without it, as upstream, energies jump as a neighbour comes or goes.
        forces: ``gradient`` of the energy, or ``direct``: not equivariant, and no gradient of anything.

    Raises:
        BackboneError: a species is unknown, a size is below one, frequencies do not add up to the features of a
            head, fewer neighbours are ranked than kept, or a length is not positive.
        UsageError: there is no such kind of forces.
    """

    species: tuple[str, ...]
    hidden: int = 512
    heads: int = 8
    layers: int = 10
    frequencies: tuple[int, ...] = (20, 10, 4, 10, 20)
    embedding: int = 128
    orders: int = 10
    order_embedding: int = 64
    gaussians: int = 600
    distance_embedding: int = 512
    multiplier: int = 2
    cutoff: float = 6.0
    nearest: int = 30
    capacity: int = 60
    softness: float = 0.2
    sharpness: float = 0.1
    smooth: bool = True
    forces: Literal["gradient", "direct"] = "gradient"

    def __post_init__(self) -> None:
        unknown = [s for s in self.species if not 0 < atomic_numbers.get(s, 0) < ROWS]
        if unknown or not self.species:
            raise BackboneError(f"EScAIP needs species as chemical symbols up to Mt, not {list(self.species)}.")
        widths = (self.embedding, self.orders, self.order_embedding, self.distance_embedding, self.multiplier)
        if min(self.hidden, self.heads, self.layers, *widths) < 1:
            raise BackboneError("EScAIP needs one feature, head, layer and order at least.")
        if self.gaussians < 2:
            raise BackboneError(f"EScAIP needs two functions of the distance at least, not {self.gaussians}.")
        if not self.frequencies or self.frequencies[0] < 1 or min(self.frequencies) < 0:
            raise BackboneError(f"EScAIP's frequencies begin with one or more, unlike {list(self.frequencies)}.")
        if self.heads * sum(self.frequencies) != self.hidden:
            raise BackboneError(
                f"EScAIP's frequencies {list(self.frequencies)} must add up to the features of a head, "
                f"{self.hidden} / {self.heads}."
            )
        if self.capacity < self.nearest or self.nearest < 1:
            raise BackboneError(
                f"EScAIP ranks at least the neighbours that it keeps: {self.capacity} is below {self.nearest}."
            )
        if not min(self.cutoff, self.softness, self.sharpness) > 0.0:
            raise BackboneError("EScAIP's cutoff, softness and sharpness are positive.")
        if self.forces not in ("gradient", "direct"):
            raise unknown_name("kind of forces", self.forces, ("gradient", "direct"))

    @classmethod
    def published(cls, size: str, species: Sequence[str], **changes: Any) -> Self:
        """A published size; there are no weights for any.

        Args:
            size: one of `SIZES`.
            species: chemical symbols.
            changes: other fields.

        Raises:
            UsageError: there is no such size.
        """
        if size not in SIZES:
            raise unknown_name("size of EScAIP", size, tuple(SIZES))
        hidden, layers, heads = SIZES[size]
        config = cls(species=tuple(species), hidden=hidden, layers=layers, heads=heads, capacity=49, smooth=False)
        return replace(config, **changes)

    @property
    def reach(self) -> float:
        """Å, up to where an atom counts in the rank of a neighbour at the cutoff."""
        return self.cutoff + math.pi * self.softness

    @property
    def rule(self) -> Nearest:
        """The neighbours that are ranked."""
        return Nearest(self.capacity, self.reach)

    @property
    def direct(self) -> bool:
        """Whether forces are read out, and no gradient."""
        return self.forces == "direct"
