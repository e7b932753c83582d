"""The table ``[references]``: whence the reference energies of the elements come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, final

from halocline.errors import UsageError
from halocline.training.recipe.rules import is_symbol, require
from halocline.typed_table import settle_fields

#: eV; no atom has as much. The heaviest, all electrons counted, has a tenth of it.
LARGEST_ENERGY = 1e7


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSettings:
    """Energies of single atoms, which are taken out of the labels before the network sees them.

    Attributes:
        kind: ``fit`` to the training frames; ``given`` as values; of ``isolated`` atoms among the frames; ``keep``
            those of the parent; ``shift`` those of the parent by what is fitted to the errors of the model that
            the fit starts from. By default ``shift`` with a parent, else ``fit``.
        values: chemical symbol → eV, of ``given``.
    """

    kind: Literal["fit", "given", "isolated", "keep", "shift"] | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle_fields(self, "references")
        if bool(self.values) != (self.kind == "given"):
            raise UsageError(
                'references.values are the energies of kind = "given" and of no other: give both or neither.'
            )
        for symbol, value in self.values.items():
            require(is_symbol(symbol), "references.values", "a table of chemical symbols", symbol)
            number = type(value) in (int, float) and abs(value) <= LARGEST_ENERGY
            rule = f"an energy in eV, at most {LARGEST_ENERGY:g} either way"
            require(number, f"references.values.{symbol}", rule, value)
