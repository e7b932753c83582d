"""The table ``[training.stopping]``: when a fit ends before its last epoch, and which epoch becomes the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from halocline.training.recipe.metric import Metric
from halocline.training.recipe.rules import require
from halocline.typed_table import settle_fields


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingSettings:
    """Which epoch is the last, and which one is kept.

    Attributes:
        metric: the epoch in which it is lowest, the first of several, is the best.
        patience: epochs after the best one in which the fit ends if none was better; 0 for never.
        keep: the weights of the ``last`` or of the ``best`` epoch as the model.
    """

    metric: Metric = "validation_loss"
    patience: int = 0
    keep: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        settle_fields(self, "training.stopping")
        require(self.patience >= 0, "training.stopping.patience", "at least 0", self.patience)

    @property
    def decides(self) -> bool:
        """Whether the metric has any effect."""
        return self.patience > 0 or self.keep == "best"
