"""Terms of a sum that are no networks, such as a dispersion correction: they evaluate structures by themselves."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from halocline.errors import BackboneError
from halocline.evaluator import Evaluator
from halocline.potential.unstaged import Unstaged


class Term(Unstaged):
    """An energy with forces and a virial of its own, whatever dtype, device or parts the network beside it has.

    It stands where a backbone does, so that it may be added up. A plugin brings it by the hook
    ``halocline_terms``; users name it with its options, such as ``d3:functional=pbe``, where the name of a model
    is expected. Options are keywords of its constructor.

    Attributes:
        config: all that its numbers follow from, as plain JSON values: whoever goes on with a run compares it.
        species: chemical symbols that it has parameters for.
        card: as of a potential.
    """

    made: ClassVar = "A term is made by its name and options"
    card: dict[str, Any]

    @abstractmethod
    def evaluator(self) -> Evaluator:
        """Make what evaluates it, in float64."""

    def remark(self, card: Mapping[str, Any]) -> str | None:
        """What speaks against adding it to a model with such a card, as a sentence; None if nothing does."""
        del card
        return None

    def refuse(self) -> NoReturn:
        """Say that it is no network.

        Raises:
            BackboneError: always.
        """
        raise BackboneError(
            f"The term {self.name!r} has no stages and no weights: it is named where it is added, and cannot be "
            "saved, exported, pruned, compressed or trained."
        )
