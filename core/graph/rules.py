"""Which neighbours a stage asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from halocline.errors import UsageError


@final
@dataclass(frozen=True, slots=True)
class Radius:
    """All neighbours nearer than a cutoff, periodic images included.

    Attributes:
        cutoff: Å; a pair at exactly this distance is no neighbour.
    """

    cutoff: float

    def __post_init__(self) -> None:
        if not 0.0 < self.cutoff < float("inf"):
            raise UsageError(f"A cutoff must be a positive length in Å, not {self.cutoff!r}.")


@final
@dataclass(frozen=True, slots=True)
class Nearest:
    """The k nearest neighbours of each atom, however far away they are.

    The relation is not symmetric, and energies jump where the k-th and the next neighbour change places.

    Attributes:
        count: k. Finite structures with fewer other atoms give all of them.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"A list of nearest neighbours needs at least one of them, not {self.count!r}.")


NeighbourRule = Radius | Nearest
