"""The table ``[log]``: what a run tells and draws, which changes nothing of its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from halocline.training.recipe.rules import is_name, require
from halocline.typed_table import settle_fields


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where numbers of epochs go beside ``metrics.csv``.

    Attributes:
        tensorboard: write them for TensorBoard, into the folder ``tensorboard`` of the run.
        wandb: project of Weights & Biases that they are sent to; none by default.
        plots: draw the learning curves, and the parity of the test frames, once the model is written.
    """

    tensorboard: bool = False
    wandb: str | None = None
    plots: bool = True

    def __post_init__(self) -> None:
        settle_fields(self, "log")
        require(self.wandb is None or is_name(self.wandb), "log.wandb", "the name of a project", self.wandb)
