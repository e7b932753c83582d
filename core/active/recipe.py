"""The recipe of active learning: a recipe of training, with a table ``[active]``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from halocline.active.settings import ActiveSettings
from halocline.errors import UsageError, within
from halocline.training.recipe import Recipe, TrainingSettings, make_recipe, read_tables
from halocline.typed_table import as_table, read_table


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRecipe:
    """Attributes: ``training``, all tables of a recipe of training, and ``active``, how its training set grows."""

    training: Recipe
    active: ActiveSettings

    def outcome(self) -> dict[str, Any]:
        """The tables that decide what comes out, as plain JSON values; the others may change meanwhile."""
        active: dict[str, Any] = json.loads(json.dumps(as_table(self.active)))
        return self.training.outcome() | {"active": active}

    def __post_init__(self) -> None:
        """Refuse what would be refused in a later iteration."""
        if not self.active.labelled and self.training.data.units is not None:
            raise UsageError(
                "Frames that are to be labelled are written and read in eV and Å, and the recipe states units for "
                "all files; with active.labelled = false, give all files in eV and Å, and leave the units out."
            )
        if self.training.data.replay is not None:
            raise UsageError(
                "Active learning does not replay: after the first iteration the parent is the loop's own model, "
                "and not the one of [data.replay]; leave it out, or learn from the parent by [distillation]."
            )
        for key, iteration in (("later_epochs", 1), ("end_epochs", self.active.iterations)):
            with within(f"with active.{key}"):
                self.fit(iteration, 0)

    def fit(self, iteration: int, member: int) -> TrainingSettings:
        """How a member is fitted in an iteration; the number of the end is that of all iterations."""
        settings, epochs = self.training.training, None
        if iteration == self.active.iterations:
            epochs = self.active.end_epochs
        elif iteration:
            epochs = self.active.later_epochs
        return replace(settings, epochs=epochs or settings.epochs, seed=settings.seed + member)


def read_active_recipe(path: Path) -> ActiveRecipe:
    """Read a recipe of active learning.

    Raises:
        UsageError: there is no such file, it is not TOML, or a key is unknown, missing or impossible.
        CheckpointError: a field of the card is unknown or of the wrong kind.
    """
    with within(str(path)):
        return make_active_recipe(read_tables(path))


def make_active_recipe(tables: Mapping[str, Any]) -> ActiveRecipe:
    """Check the tables of a recipe, as TOML or JSON has them.

    Raises:
        UsageError: a key is unknown, missing or impossible.
        CheckpointError: a field of the card is unknown or of the wrong kind.
    """
    others = dict(tables)
    if "active" not in others:
        raise UsageError("The recipe has no table [active]; without one, it is for halocline train.")
    return ActiveRecipe(
        active=read_table(ActiveSettings, others.pop("active"), "active"), training=make_recipe(others)
    )
