"""How large errors may be for a model to be good enough."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, final

from halocline.errors import UsageError, unknown_name
from halocline.training.errors import MILLI, Errors

#: Quantity → unit of its errors, in which they are given.
UNITS: Final = {"energy": "meV/atom", "forces": "meV/Å"}

_FORM: Final = re.compile(
    r"\s*(?P<quantity>[A-Za-z]+)\s+(?P<most>[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(?P<unit>[A-Za-z%]\S*)\s*"
)
_EXAMPLE: Final = "'forces 50 meV/Å', 'energy 2 meV/atom' or 'forces 120 %', which is of the unpruned model"


@final
@dataclass(frozen=True, slots=True)
class Budget:
    """A bound on a mean absolute error over the validation frames.

    Attributes:
        quantity: ``energy`` or ``forces``.
        most: in the unit of `UNITS`; or, if relative, a multiple.
        relative: whether it is a multiple of the error of the unpruned model, fitted in the same way.
    """

    quantity: str
    most: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``forces 50 meV/Å``, ``energy 0.002 eV/atom`` or ``forces 120 %``.

        Raises:
            UsageError: it is none of those.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise UsageError(f"A budget is an error and its unit, such as {_EXAMPLE}, not {text!r}.")
        quantity, most, unit = match["quantity"], float(match["most"]), match["unit"]
        if quantity not in UNITS:
            raise unknown_name("quantity of a budget", quantity, UNITS)
        factors = {UNITS[quantity]: 1.0, UNITS[quantity].removeprefix("m"): MILLI, "%": 0.01}
        factors |= {name.replace("Å", "A"): factor for name, factor in factors.items()}  # keyboards lack it
        if unit not in factors:
            raise UsageError(f"Errors of {quantity} are in {UNITS[quantity]} or %, not {unit!r}; say {_EXAMPLE}.")
        if not most > 0.0:
            raise UsageError(f"A budget of {text!r} leaves no room for any error; it must be above 0.")
        return cls(quantity, most * factors[unit], relative=unit == "%")

    def __str__(self) -> str:
        amount = (
            f"{100.0 * self.most:g} % of the unpruned"
            if self.relative
            else f"{self.most:g} {UNITS[self.quantity]}"
        )
        return f"{self.quantity} {amount}"

    def error(self, errors: Errors) -> float:
        """What it is about, in the unit of `UNITS`.

        Raises:
            UsageError: no validation frame has a label of this kind.
        """
        value: float | None = getattr(errors, f"{self.quantity}_mae")
        if value is None:
            raise UsageError(f"No validation frame carries {self.quantity}, so a budget for it cannot be checked.")
        return value

    def holds(self, errors: Errors, unpruned: Errors) -> bool:
        """Whether errors are small enough, beside those of the unpruned model; errors as for `error`."""
        return self.error(errors) <= (self.most * self.error(unpruned) if self.relative else self.most)
