"""What a relaxation aims at, in the units of the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from halocline.errors import UsageError, unknown_name
from halocline.typed_table import settle_fields

OPTIMISERS = ("fire", "lbfgs", "bfgs")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is relaxed, how, and how far.

    Attributes:
        optimiser: "fire", "lbfgs" or "bfgs".
        fmax: eV/Å; converged when no atom's force is larger. With `cell`, the gradient of the logarithm of the
            deformation, per atom, counts as three more forces.
        max_steps: give up after so many.
        cell: relax the cell, too.
        hydrostatic: of the cell only the volume, so that it keeps its shape.
        pressure: GPa, on the cell.
    """

    optimiser: str = "lbfgs"
    fmax: float = 0.01
    max_steps: int = 500
    cell: bool = False
    hydrostatic: bool = False
    pressure: float = 0.0

    def __post_init__(self) -> None:
        settle_fields(self)
        if self.optimiser not in OPTIMISERS:
            raise unknown_name("optimiser", self.optimiser, OPTIMISERS)
        if not 0.0 < self.fmax < float("inf"):
            raise UsageError(f"fmax must be finite and greater than 0, not {self.fmax!r} eV/Å.")
        if self.max_steps < 0:
            raise UsageError(f"The greatest number of steps must not be negative, as {self.max_steps} is.")
        if not math.isfinite(self.pressure) or (self.pressure and not self.cell):
            raise UsageError("The pressure must be finite, and needs a cell that may relax: add --cell.")
        if self.hydrostatic and not self.cell:
            raise UsageError("A hydrostatic relaxation needs a cell that may relax: add --cell.")
