"""What the metrics of the epochs that are done decide: they are all that resuming needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from halocline.training.recipe import TrainingSettings

#: An epoch ends a plateau if its metric is lower than the lowest by more than this fraction.
IMPROVEMENT: Final = 1e-4


def reductions(metrics: Sequence[float], settings: TrainingSettings) -> int:
    """How often the learning rate was reduced because a metric had stopped falling.

    Args:
        metrics: of the schedule, of each epoch.
        settings: of the fit.
    """
    lowest, waited, count = float("inf"), 0, 0
    for value in metrics:
        lowest, waited = (value, 0) if value < lowest * (1.0 - IMPROVEMENT) else (lowest, waited + 1)
        if waited > settings.schedule.patience:
            count, waited = count + 1, 0
    return count


def best_epoch(metrics: Sequence[float]) -> int | None:
    """The first of the epochs, counted from 1, whose metric is the lowest; None without any that is a number."""
    known = [(value, epoch) for epoch, value in enumerate(metrics, 1) if value == value]
    return min(known)[1] if known else None


def is_over(metrics: Sequence[float], settings: TrainingSettings) -> bool:
    """Whether the fit ends here: the best epoch, by the metric for stopping, lies too far back."""
    patience = settings.stopping.patience
    return patience > 0 and len(metrics) - (best_epoch(metrics) or 0) >= patience
