"""Tables of radial functions for the elements that structures bring, of models whose functions differ by pairs."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from halocline.aggregation import RadialFunction
from halocline.errors import HaloclineError, KernelError
from halocline.evaluator import Evaluator
from halocline.evaluator.result import Result
from halocline.graph import Structure
from halocline.model.backbone import Backbone
from halocline.model.kept_tables import kept_species

_logger = logging.getLogger(__name__)

#: Elements of a model up to which tables are made for all of its pairs, whatever structures bring.
AT_ONCE: Final = 4


def has_many_pairs(backbone: Backbone) -> bool:
    """Whether radial functions differ by pairs of more elements than `AT_ONCE`, or have tables for some only."""
    if (kept := kept_species(backbone)) is not None:
        return kept != set(backbone.species)
    return len(backbone.species) > AT_ONCE and any(True for _ in _by_pairs(backbone))


def narrowed(backbone: Backbone, species: set[str]) -> Backbone:
    """A copy that is asked for some of its elements only: pairs with others have `RadialFunction.NONE`.

    Weights stay those of all elements.

    Args:
        backbone: the model; kinds of atom in `RadialFunction.pairs` are its species, in their order.
        species: chemical symbols.
    """
    narrow = copy.deepcopy(backbone)
    narrow.species = tuple(symbol for symbol in backbone.species if symbol in species)
    absent = torch.tensor([symbol not in species for symbol in backbone.species])
    for function, pairs in _by_pairs(narrow):
        function.pairs = pairs.masked_fill(absent[:, None] | absent, RadialFunction.NONE)
    return narrow


def _by_pairs(backbone: Backbone) -> Iterator[tuple[RadialFunction, Tensor]]:
    for module in backbone.modules():
        if isinstance(module, RadialFunction) and module.pairs is not None:
            yield module, module.pairs


@final
class MetSpecies(Evaluator):
    """Evaluates with tables of the elements met so far, and has others made when a structure brings more.

    Where tables of all of them would be too large, those that the structure at hand does without are given up.
    A model that carries tables has met its elements from the beginning, and can meet no others.

    Args:
        backbone: the model.
        make: makes an evaluator of a model, with tables for all of its elements.

    Raises:
        KernelError: the model cannot be compressed, whatever its elements.
    """

    def __init__(self, backbone: Backbone, make: Callable[[Backbone], Evaluator]) -> None:
        self._backbone, self._make = backbone, make
        self._kept = kept_species(backbone)
        self._species: set[str] = self._kept or set()
        self._numbers: NDArray[np.int64] | None = None
        # Of one element, before any is met: what kernels do, and whether they can, is known at once.
        self._evaluator = self._made(self._kept or set(backbone.species[:1]))
        self.together, self.replaced = self._evaluator.together, self._evaluator.replaced

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`.

        Raises:
            KernelError: tables of this structure's elements alone would be too large, or the model carries none.
        """
        if structure.numbers is not self._numbers:
            self._meet([structure])
            self._numbers = structure.numbers
        return self._evaluator.evaluate_within(structure)

    def evaluate_many(self, structures: Sequence[Structure]) -> list[Result | HaloclineError]:
        """See `Evaluator.evaluate_many`; one after another where tables of all their elements are too large."""
        try:
            self._meet(structures)
        except KernelError:
            return super().evaluate_many(structures)
        return self._evaluator.evaluate_many(structures)

    def _outcome(self, structure: Structure) -> Result | HaloclineError:
        try:
            return super()._outcome(structure)
        except KernelError as error:  # of its elements: others may have fewer
            return error

    def close(self) -> None:
        """See `Evaluator.close`."""
        self._evaluator.close()

    def _meet(self, structures: Sequence[Structure]) -> None:
        """Have tables for the elements of these structures."""
        met = {chemical_symbols[number] for each in structures for number in np.unique(each.numbers)}
        if met <= self._species:
            return
        if self._kept is not None:
            raise KernelError(
                f"The model carries tables for {', '.join(sorted(self._kept))}, and not for "
                f"{', '.join(sorted(met - self._kept))}; compress it anew with these elements."
            )
        self._numbers = None
        try:
            made = self._made(self._species | met)
        except KernelError:
            if not self._species - met:
                raise
            made, self._species = self._made(met), set()
        self._evaluator.close()
        self._evaluator, self._species = made, self._species | met

    def _made(self, species: set[str]) -> Evaluator:
        _logger.info("Tables of %r are made for %s.", self._backbone.name, ", ".join(sorted(species)))
        return self._make(narrowed(self._backbone, species))
