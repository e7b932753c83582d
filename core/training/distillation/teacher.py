"""The model that a fit learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from halocline.errors import UsageError, unknown_name, within
from halocline.model.heads import head_names
from halocline.potential.load import load
from halocline.potential.potential import Potential
from halocline.training.parent import Parent, model_place, public_name
from halocline.training.recipe import DistillationSettings


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A model that others learn from; it stays as it is.

    Attributes:
        name: as the recipe has it.
        potential: the model.
        head: of it, that answers; None if it has one only.
    """

    name: str
    potential: Potential
    head: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the model and the choice of its head."""
        return self.potential.digest() if self.head is None else f"{self.potential.digest()} {self.head}"

    def knows(self, numbers: NDArray[np.int64]) -> bool:
        """Whether it was made for all elements of a structure, (N,)."""
        return {chemical_symbols[z] for z in numbers.tolist()} <= set(self.potential.species)

    @property
    def reference_energies(self) -> Mapping[str, float]:
        """Chemical symbol → eV, of the head that answers."""
        more = {} if self.head is None else self.potential.backbone.head_energies.get(self.head, {})
        own = self.potential.reference_energies
        return {symbol: energy + more.get(symbol, 0.0) for symbol, energy in own.items()}

    def as_card(self) -> dict[str, Any]:
        """How the card of a model names it."""
        card = self.potential.card
        facts = {
            "name": card.get("name") or public_name(self.name),
            "sha256": self.potential.digest(),
            "head": self.head,
            "level_of_theory": card.get("level_of_theory"),
            "licence_of_weights": card.get("licence", {}).get("weights"),
        }
        return {name: value for name, value in facts.items() if value is not None}


def find_teacher(settings: DistillationSettings, parent: Parent | None, folder: Path) -> Teacher:
    """Load the model that a recipe learns from.

    Args:
        settings: of the distillation.
        parent: from which the fit starts, if there is one; the teacher unless the recipe names another.
        folder: to which the path of its file is relative.

    Raises:
        UsageError: there is no such model or head, or none is named and there is no parent.
        ZooError: the model could not be fetched.
        CheckpointError: its file cannot be read.
    """
    if settings.teacher is None:
        if parent is None:
            raise UsageError(
                "Nobody teaches: name a model in distillation.teacher, or one to start from in model.from."
            )
        return Teacher(name=parent.name, potential=parent.potential)
    with within("distillation.teacher"):
        potential = load(model_place(settings.teacher, folder))
    heads = head_names(potential.backbone)
    if heads and settings.head is None:
        raise UsageError(
            f"{settings.teacher} has the heads {', '.join(heads)}; say in distillation.head which one answers."
        )
    if settings.head is not None and settings.head not in heads:
        raise UsageError(f"distillation.head: {unknown_name('head', settings.head, heads)}")
    return Teacher(name=settings.teacher, potential=potential, head=settings.head)
