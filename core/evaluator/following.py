"""An evaluator that follows its model: what was made from weights that have changed since is made anew.

Evaluators freeze weights: they are cast, compiled, or sent to other processes. Whoever trains or edits a model
keeps the potential and its calculators, and must never be told the numbers of before.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, Self, final

import torch
from torch import Tensor, nn

from halocline.errors import HaloclineError
from halocline.evaluator.evaluator import Evaluator
from halocline.evaluator.result import Result
from halocline.graph import Structure
from halocline.model.backbone import Backbone
from halocline.shares import timed

_logger = logging.getLogger(__name__)

#: Attributes that every module has, and ``training``: evaluation is always in evaluation mode.
_OF_ALL_MODULES = frozenset(vars(nn.Module()))

#: Those of them that hold what a module computes with.
_CONTENTS = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")

#: Evaluators of processes that this one is a fork of. They are kept: to collect one might end what its owner uses.
_of_parents: Final[list[Evaluator | None]] = []


@final
class FollowingEvaluator(Evaluator):
    """Hands structures to an evaluator, which is replaced when its backbone is no longer what it was made from.

    Closing it ends that evaluator; the next structure has another one made.

    Args:
        backbone: which its owner may change at any time between evaluations.
        make: makes an evaluator of the backbone as it is.
    """

    def __init__(self, backbone: Backbone, make: Callable[[], Evaluator]) -> None:
        self._backbone, self._make = backbone, make
        # Taken first, and again with each evaluator: a change in between is seen at the next structure.
        self._state = BackboneState.of(backbone)
        self._evaluator: Evaluator | None = make()
        self._process = os.getpid()
        self.together, self.restarted = self._evaluator.together, self._evaluator.restarted

    @property
    def is_current(self) -> bool:
        """Whether the backbone is what the last results were computed with."""
        return self._state.is_of(self._backbone)

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`."""
        return self._current().evaluate(structure)

    def evaluate_many(self, structures: Sequence[Structure]) -> list[Result | HaloclineError]:
        """See `Evaluator.evaluate_many`."""
        return self._current().evaluate_many(structures)

    def _current(self) -> Evaluator:
        """An evaluator of the backbone as it is."""
        if os.getpid() != self._process:
            self._leave_to_parent()
        if not self.is_current:
            _logger.info("The weights of %r have changed; their evaluator is made anew.", self._backbone.name)
            self.close()
        if self._evaluator is None:
            self._state = BackboneState.of(self._backbone)
            self._evaluator = self._make()
        return self._evaluator

    def close(self) -> None:
        """See `Evaluator.close`."""
        if os.getpid() != self._process:
            self._leave_to_parent()
        evaluator, self._evaluator = self._evaluator, None
        if evaluator is not None:
            evaluator.close()

    def _leave_to_parent(self) -> None:
        """In a fork: what was made before has the processes, thread pools and devices of the process before."""
        _of_parents.append(self._evaluator)
        self._evaluator, self._process = None, os.getpid()


@final
class BackboneState:
    """What a backbone was at some time: its modules, and the numbers in them.

    Counters of torch for changes in place miss those through ``.data`` or NumPy, so the numbers themselves are
    compared. Objects that are neither modules nor tensors count by identity. Whether a module is in training mode
    does not matter.
    """

    def __init__(self, backbone: Backbone) -> None:
        # Strong references throughout: an identity is given again once its object is gone.
        self._modules = list(backbone.modules())
        self._contents = [getattr(module, name) for module in self._modules for name in _CONTENTS]
        self._attributes = [vars(module) for module in self._modules]
        self._names = [[name for name in vars(module) if name not in _OF_ALL_MODULES] for module in self._modules]
        self._objects = self._all_objects()
        self._identities = list(map(id, self._objects))
        self._counts = list(map(len, self._attributes))
        self._live = [each for each in self._objects if isinstance(each, Tensor)]
        self._config = repr(backbone.config)
        self._kept = [tensor.detach().clone() for tensor in self._live]

    @classmethod
    def of(cls, backbone: Backbone) -> Self:
        """The state of a backbone now."""
        return cls(backbone)

    @timed("following")
    def is_of(self, backbone: Backbone) -> bool:
        """Whether a backbone is still in this state, to the bit."""
        return (
            self._modules[0] is backbone
            and list(map(len, self._attributes)) == self._counts
            and list(map(id, self._all_objects())) == self._identities
            and repr(backbone.config) == self._config
            and all(map(_same, self._live, self._kept))
        )

    def _all_objects(self) -> list[Any]:
        """Everything that the modules consist of, in an order that follows from how they were made."""
        named = [
            attributes.get(name)
            for attributes, names in zip(self._attributes, self._names, strict=True)
            for name in names
        ]
        return [*chain.from_iterable(map(dict.values, self._contents)), *named]


def _same(live: Tensor, kept: Tensor) -> bool:
    return live.dtype == kept.dtype and live.device == kept.device and torch.equal(live, kept)
