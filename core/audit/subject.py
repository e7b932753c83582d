"""A model under audit, and how it is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from halocline.evaluator import FollowingEvaluator
    from halocline.potential.calculator import HaloclineCalculator
    from halocline.potential.potential import Potential


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """A model with the options of its evaluation.

    Attributes:
        name: as the user has called it.
        potential: the model.
        head: of a model with several, that is to answer.
        members: names of the models of a committee; none of a single model.
        options: of `halocline.potential.Potential.evaluator`, by name.
    """

    name: str
    potential: Potential
    head: str | None = None
    members: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def evaluator(self) -> FollowingEvaluator:
        """An evaluator of its own, which its caller closes."""
        return self.potential.evaluator(**self.options)

    def calculator(self) -> HaloclineCalculator:
        """A calculator of its own, which its caller closes."""
        return self.potential.calculator(**self.options, head=self.head)

    def identity(self) -> dict[str, Any]:
        """What numbers follow from, as JSON values."""
        return {"model": self.potential.digest(), "head": self.head, **self.options}

    def document(self) -> dict[str, Any]:
        """What is told of it."""
        card = self.potential.card
        return {
            "name": self.name,
            "sha256": self.potential.digest(),
            "level_of_theory": card.get("level_of_theory"),
            "licence": card.get("licence"),
            "species": len(self.potential.species),
            "head": self.head,
            "members": list(self.members),
            "options": self.options,
        }
