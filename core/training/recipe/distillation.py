"""The table ``[distillation]``: a model whose energies and forces are fitted, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from halocline.errors import UsageError
from halocline.training.recipe.rules import is_name, require
from halocline.training.recipe.weights import LARGEST_WEIGHT, Weights
from halocline.typed_table import settle_fields


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationSettings:
    """What the model learns from a teacher, beside labels or without. Errors cost what ``[training]`` says.

    Attributes:
        teacher: name or file of a model; by default the parent that the fit starts from, before it was pruned.
        head: of a named teacher with several heads, the one that is to answer.
        energy_weight: of the mean cost of errors per atom, against the teacher's energies.
        forces_weight: of the mean cost of errors, against the teacher's forces.
        on: ``all`` training frames that the teacher knows, or only the ``unlabelled`` ones.
        align: bring the teacher's energies to the scale of the labels, by one constant for each element.
    """

    teacher: str | None = None
    head: str | None = None
    energy_weight: float = 100.0
    forces_weight: float = 1.0
    on: Literal["all", "unlabelled"] = "all"
    align: bool = True

    def __post_init__(self) -> None:
        settle_fields(self, "distillation")
        for name, rule in (("teacher", "the name of a model, or its file"), ("head", "the name of a head")):
            value = getattr(self, name)
            require(value is None or is_name(value), f"distillation.{name}", rule, value)
        for name in ("energy_weight", "forces_weight"):
            value = getattr(self, name)
            allowed = 0.0 <= value <= LARGEST_WEIGHT
            require(allowed, f"distillation.{name}", f"at least 0 and at most {LARGEST_WEIGHT:g}", value)
        rule = "positive, if distillation.forces_weight is not"
        require(
            self.energy_weight + self.forces_weight > 0.0, "distillation.energy_weight", rule, self.energy_weight
        )
        if self.head is not None and self.teacher is None:
            raise UsageError("distillation.head is of a teacher that distillation.teacher names; name it, too.")

    @property
    def weights(self) -> Weights:
        """Of the teacher's part of the loss."""
        return Weights(self.energy_weight, self.forces_weight, 0.0)
