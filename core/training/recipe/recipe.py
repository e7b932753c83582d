"""A whole recipe, from its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from halocline.checkpoint.card import check_card
from halocline.errors import UsageError
from halocline.training.recipe.data import DataSettings
from halocline.training.recipe.distillation import DistillationSettings
from halocline.training.recipe.log import LogSettings
from halocline.training.recipe.metric import label_of
from halocline.training.recipe.model import ModelSettings
from halocline.training.recipe.references import ReferenceSettings
from halocline.training.recipe.rules import check_plain
from halocline.training.recipe.training import TrainingSettings
from halocline.typed_table import as_table, read_table, settle_fields

#: Fields of the card that training measures; what a recipe would say in their place could only be wrong.
_MEASURED: Final = ("errors", "recipe", "units", "shortest_distances", "neighbours", "direct_forces", "parent")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Attributes: the tables of the file. ``card`` describes the model to its users, ``log`` what a run tells."""

    data: DataSettings
    model: ModelSettings
    references: ReferenceSettings = field(default_factory=ReferenceSettings)
    training: TrainingSettings
    distillation: DistillationSettings | None = None
    card: dict[str, Any] = field(default_factory=dict)
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        settle_fields(self, "recipe")
        check_card(self.card)
        for name in _MEASURED:
            if name in self.card:
                raise UsageError(f"card.{name} is what training itself finds out; leave it out of the recipe.")
        check_plain(self.card, "card")
        if self.data.replay is not None and self.model.from_ is None:
            raise UsageError("data.replay is of the data of a model to start from; name it in model.from.")
        self._check_lessons()

    @property
    def reads_stress(self) -> bool:
        """Whether stress labels are looked for: they have weight, or a key, or steer the fit."""
        metrics = self.training.metrics.values()
        return (
            self.training.fitted.stress > 0.0
            or self.data.stress_key is not None
            or any(label_of(metric) == "stress" for metric in metrics)
        )

    def _check_lessons(self) -> None:
        """Something is fitted to, and whoever is to teach has something to teach on."""
        unlabelled = bool(self.data.unlabelled_files)
        if self.distillation is None:
            self.training.require_weight()
            if unlabelled:
                raise UsageError("data.unlabelled_files serve a teacher only; add a table [distillation].")
        elif self.distillation.on == "unlabelled" and not unlabelled:
            raise UsageError("distillation.on is 'unlabelled', but there are no data.unlabelled_files.")

    def as_table(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(as_table(self)))
        return plain

    def outcome(self) -> dict[str, Any]:
        """The tables that decide which weights come out, as plain JSON values; the others may change meanwhile."""
        return {name: values for name, values in self.as_table().items() if name not in ("card", "log")}


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """Check the tables of a recipe, as TOML or JSON has them.

    Raises:
        UsageError: a key is unknown, missing or impossible.
        CheckpointError: a field of the card is unknown or of the wrong kind.
    """
    return read_table(Recipe, values, "")
