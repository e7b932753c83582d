"""More chemical elements for a model that was made for others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from ase.data import atomic_numbers
from torch import Tensor

from halocline.errors import BackboneError, HaloclineError, UsageError
from halocline.model.backbone import Backbone
from halocline.model.build import build_with_seed


def widened(backbone: Backbone, elements: Sequence[str]) -> Backbone:
    """A copy of a backbone that knows more elements, and gives what it gave for those that it knew.

    Whatever a weight has for each element starts, for a new one, as the mean over those that the backbone knew.
    The first steps then find an average atom, not a random one.

    Args:
        backbone: stays as it is.
        elements: chemical symbols that it does not know.

    Raises:
        UsageError: it knows one of them already.
        BackboneError: it cannot be built with them, or does not say which of its weights belong to elements.
    """
    if known := sorted(set(elements) & set(backbone.species)):
        raise UsageError(f"The model knows {', '.join(known)} already; name only those that it does not know.")
    wide = _build(backbone, elements)
    rows = _Rows(backbone, elements)
    before, fresh = backbone.state_dict(), wide.state_dict()
    if set(before) != set(fresh):
        odd = ", ".join(sorted(set(before) ^ set(fresh))[:5])
        raise BackboneError(f"With more elements, {backbone.name!r} has other weights: {odd} differ.")
    trained = {name for name, _ in wide.named_parameters()}
    weights = {name: rows.widened(name, t, fresh[name], mean=name in trained) for name, t in before.items()}
    if not rows.found:
        raise BackboneError(
            f"The backbone {backbone.name!r} does not say which of its weights belong to elements: none grows "
            "with their number, and it names none in numbered_weights."
        )
    wide.load_state_dict(weights)
    return wide.train(backbone.training)


def _build(backbone: Backbone, elements: Sequence[str]) -> Backbone:
    try:
        return build_with_seed(type(backbone), backbone.widened_config(elements))
    except HaloclineError:
        raise
    except Exception as error:  # whatever a stranger's constructor raises
        raise BackboneError(
            f"The backbone {backbone.name!r} cannot be built with {', '.join(elements)}: {error}."
        ) from error


@final
class _Rows:
    """Which rows of a weight belong to elements.

    Attributes:
        found: whether any weight had some.
    """

    def __init__(self, backbone: Backbone, elements: Sequence[str]) -> None:
        self._name, self._numbered = backbone.name, set(backbone.numbered_weights)
        self._known, self._new = len(backbone.species), len(elements)
        self._known_numbers = [atomic_numbers[symbol] for symbol in backbone.species]
        self._new_numbers = [atomic_numbers[symbol] for symbol in elements]
        self.found = False

    def widened(self, name: str, before: Tensor, fresh: Tensor, *, mean: bool) -> Tensor:
        """The values of a weight of the wider model.

        Args:
            name: of the weight.
            before: its values in the model that there is.
            fresh: in a new model with all elements.
            mean: start rows of new elements as the mean; else, of what is not trained, as in a new model.
        """
        if name in self._numbered:
            known, new, values = self._known_numbers, self._new_numbers, before.clone()
        elif before.shape == fresh.shape:
            return before
        elif before.shape == (self._known, *fresh.shape[1:]) and len(fresh) == self._known + self._new:
            known, new = list(range(self._known)), list(range(self._known, self._known + self._new))
            values = torch.cat([before, fresh[self._known :].to(before.dtype)])
        else:
            raise BackboneError(
                f"{name} of {self._name!r} has the shape {tuple(before.shape)}, and {tuple(fresh.shape)} with "
                "more elements: weights have a row for each species first, or stay as they are."
            )
        self.found = True
        if mean:
            values[new] = before[known].mean(0)
        return values
