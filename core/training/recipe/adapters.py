"""The table ``[model.adapters]``: a few numbers for each dense layer are fitted in the place of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from halocline.training.recipe.rules import is_name, require
from halocline.typed_table import settle_fields


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSettings:
    """Low-rank adapters, see `halocline.model.adapters`.

    Attributes:
        rank: of the two thin matrices beside a weight.
        alpha: their product counts alpha / rank times; once by default.
        full: names of stages, or of weights in them, that are fitted as they are, without adapters.
    """

    rank: int
    alpha: float | None = None
    full: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settle_fields(self, "model.adapters")
        require(self.rank >= 1, "model.adapters.rank", "at least 1", self.rank)
        usable = self.alpha is None or 0.0 < self.alpha < float("inf")
        require(usable, "model.adapters.alpha", "positive and finite", self.alpha)
        for i, name in enumerate(self.full):
            require(is_name(name), f"model.adapters.full[{i}]", "the name of a stage or of a weight", name)
