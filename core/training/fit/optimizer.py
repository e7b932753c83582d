"""The optimizer of a model: which weights move, and at which rates."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import torch

from halocline.errors import UsageError, within
from halocline.model.adapters import weights_below

if TYPE_CHECKING:
    from halocline.model import Backbone
    from halocline.training.recipe import TrainingSettings

#: Key of a group of weights: what the learning rate of the schedule is multiplied by there.
FACTOR: Final = "rate_factor"

_KINDS: Final = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def make_optimizer(model: Backbone, settings: TrainingSettings) -> tuple[torch.optim.Optimizer, list[str]]:
    """Freeze what is to stay, and make the optimizer of the rest.

    Args:
        model: whose weights are trained in place; those that need no gradient are left alone as well.
        settings: of the fit.

    Returns:
        The optimizer, and the names of its weights in its own order. Each of its groups has a `FACTOR`.

    Raises:
        UsageError: a name is that of no stage and no weight, or nothing is left to train.
    """
    freeze(model, settings.freeze)
    factors = _factors(model, settings)
    moving = {name: weights for name, weights in model.named_parameters() if weights.requires_grad}
    if not moving:
        raise UsageError(f"All weights of {model.name!r} are frozen; leave some out of training.freeze.")

    def group_of(name: str) -> tuple[float, float]:
        decays = moving[name].ndim > 1
        return factors.get(name, 1.0), settings.weight_decay if decays else 0.0

    groups: list[dict[str, Any]] = []
    names: list[str] = []
    for (factor, decay), members in groupby(sorted(moving, key=group_of, reverse=True), key=group_of):
        listed = list(members)
        groups.append({"params": [moving[name] for name in listed], FACTOR: factor, "weight_decay": decay})
        names += listed
    return _KINDS[settings.optimizer](groups, lr=settings.learning_rate), names


def freeze(model: Backbone, names: Iterable[str]) -> None:
    """Let weights stay as they are.

    Raises:
        UsageError: a name is that of no stage and no weight.
    """
    for i, name in enumerate(names):
        with within(f"training.freeze[{i}]"):
            for weights in weights_below(name, model).values():
                weights.requires_grad_(False)


def _factors(model: Backbone, settings: TrainingSettings) -> dict[str, float]:
    """Name of a weight → what its rate is multiplied by; the longest name that fits decides."""
    factors: dict[str, float] = {}
    for name in sorted(settings.rates, key=len):
        with within("training.rates"):
            factors |= dict.fromkeys(weights_below(name, model), float(settings.rates[name]))
    return factors
