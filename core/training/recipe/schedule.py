"""The table ``[training.schedule]``: how the learning rate goes on after the warm-up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal, final

from halocline.errors import UsageError
from halocline.training.recipe.metric import Metric
from halocline.training.recipe.rules import require
from halocline.typed_table import settle_fields

ScheduleKind = Literal["cosine", "constant", "exponential", "steps", "plateau"]

#: Keys that say something about some kinds only.
_KINDS: Final[dict[str, tuple[ScheduleKind, ...]]] = {
    "factor": ("steps", "plateau"),
    "epochs": ("steps",),
    "metric": ("plateau",),
    "patience": ("plateau",),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """The course of the learning rate.

    Attributes:
        kind: ``cosine`` and ``exponential`` fall to the final fraction at the last step; ``constant`` stays;
            ``steps`` is multiplied by the factor at each of some epochs; ``plateau`` whenever a metric has not
            improved for some epochs, down to the final fraction.
        factor: of ``steps`` and ``plateau``.
        epochs: of ``steps``: the first with the lower rate, counted from 1, ascending.
        metric: of ``plateau``.
        patience: of ``plateau``, epochs without an improvement that are still waited for.
    """

    kind: ScheduleKind = "cosine"
    factor: float = 0.5
    epochs: tuple[int, ...] = ()
    metric: Metric = "validation_loss"
    patience: int = 5

    def __post_init__(self) -> None:
        settle_fields(self, "training.schedule")
        for field in dataclasses.fields(self):
            kinds = _KINDS.get(field.name)
            if kinds and self.kind not in kinds and getattr(self, field.name) != field.default:
                raise UsageError(
                    f"training.schedule.{field.name} says something about {' and '.join(map(repr, kinds))} only, "
                    f"and the kind is {self.kind!r}; leave it out."
                )
        require(0.0 < self.factor < 1.0, "training.schedule.factor", "above 0 and below 1", self.factor)
        require(self.patience >= 0, "training.schedule.patience", "at least 0", self.patience)
        ascending = all(a < b for a, b in zip((1, *self.epochs), self.epochs, strict=False))
        rule = "ascending numbers of epochs from 2 on"
        require(
            ascending and bool(self.epochs) == (self.kind == "steps"),
            "training.schedule.epochs",
            rule,
            self.epochs,
        )
