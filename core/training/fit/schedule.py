"""What changes from step to step: the learning rate, and how much of the average of the weights is kept."""

from __future__ import annotations

import math

from halocline.training.recipe import TrainingSettings


def learning_rate(
    step: int, steps: int, settings: TrainingSettings, *, epoch: int = 1, reductions: int = 0
) -> float:
    """The rate of one step: a linear warm-up, times how far the schedule has brought it down.

    Args:
        step: number of the step, from 0.
        steps: of the whole fit.
        settings: of the fit.
        epoch: to which the step belongs, from 1; matters to ``steps``.
        reductions: how often a ``plateau`` was found; see `progress.reductions`.
    """
    warmup = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    progress = max(0, step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return settings.learning_rate * warmup * _fraction(progress, epoch, reductions, settings)


def ema_decay(step: int, settings: TrainingSettings) -> float:
    """How much of the average is kept at a step, from 0: little at first, to forget the initial weights soon."""
    return min(settings.ema_decay, (1 + step) / (10 + step))


def _fraction(progress: float, epoch: int, reductions: int, settings: TrainingSettings) -> float:
    """Of the full rate, when a fraction of the steps after the warm-up is done."""
    schedule, final = settings.schedule, settings.final_fraction
    match schedule.kind:
        case "cosine":
            # I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
            # eq. 5.
            return final + (1.0 - final) * (0.5 * (1.0 + math.cos(math.pi * progress)))
        case "exponential":
            return float(final**progress)
        case "steps":
            return float(schedule.factor ** sum(each <= epoch for each in schedule.epochs))
        case "plateau":
            return max(final, float(schedule.factor**reductions))
        case "constant":
            return 1.0
