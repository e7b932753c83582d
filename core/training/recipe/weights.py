"""Weights of the terms of the loss, and the tables ``[[training.reweighting]]`` that change them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, final

from halocline.training.recipe.rules import require
from halocline.typed_table import settle_fields

#: Of a term of the loss. Its gradient stays far below what float32 holds for every fit that could succeed.
LARGEST_WEIGHT: Final = 1e12


class Weights(NamedTuple):
    """Attributes: weights of the terms of the loss."""

    energy: float
    forces: float
    stress: float = 0.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reweighting:
    """Other weights of the loss from some epoch on; those that are not given stay as they are.

    Attributes:
        epoch: the first that they change in; epochs are counted from 1.
        over: how many epochs it takes until they are reached, by equal steps.
        energy_weight: see `TrainingSettings`, as with the other two.
        forces_weight: of the forces.
        stress_weight: of the stress.
    """

    epoch: int
    over: int = 1
    energy_weight: float | None = None
    forces_weight: float | None = None
    stress_weight: float | None = None

    def __post_init__(self) -> None:
        settle_fields(self, "training.reweighting")
        require(self.epoch >= 1, "training.reweighting.epoch", "at least 1", self.epoch)
        require(self.over >= 1, "training.reweighting.over", "at least 1", self.over)
        for name in ("energy_weight", "forces_weight", "stress_weight"):
            value = getattr(self, name)
            allowed = value is None or 0.0 <= value <= LARGEST_WEIGHT
            require(allowed, f"training.reweighting.{name}", f"at least 0 and at most {LARGEST_WEIGHT:g}", value)

    def applied(self, weights: Weights, epoch: int) -> Weights:
        """What weights become in an epoch, counted from 1."""
        done = min(1.0, max(0.0, (epoch - self.epoch + 1) / self.over))
        wanted = (self.energy_weight, self.forces_weight, self.stress_weight)
        return Weights(
            *(
                before if after is None else (1.0 - done) * before + done * after
                for before, after in zip(weights, wanted, strict=True)
            )
        )
