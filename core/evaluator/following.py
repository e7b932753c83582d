"""An evaluator that follows its model: what was made from weights that have changed since is made anew.

Evaluators freeze weights: they are cast, compiled, or sent to other processes. Whoever trains or edits a model
keeps the potential and its calculators, and must never be told the numbers of before.
"""

from __future__ import annotations

import copy
import ctypes
import logging
import operator
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
from halocline.graph.compiled import steps
from halocline.model.backbone import Backbone
from halocline.shares import timed

_logger = logging.getLogger(__name__)

#: Attributes that every module has, and ``training``: evaluation is always in evaluation mode.
_OF_ALL_MODULES = frozenset(vars(nn.Module()))

#: Those of them that hold what a module computes with.
_CONTENTS = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")

_OF_NO_MATTER = _OF_ALL_MODULES.difference(_CONTENTS)

#: Compares bytes in memory. Python's lock is kept, so that no other thread frees them meanwhile.
_compare: Final = ctypes.PyDLL(None).memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_compare.restype = ctypes.c_int

_next: Final = ctypes.cast(ctypes.pythonapi.PyDict_Next, ctypes.c_void_p).value

#: Bytes of a digest.
_DIGEST: Final = 256

_dtype: Final = operator.attrgetter("dtype")

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
        self.replaced = self._evaluator.replaced

    @property
    def is_current(self) -> bool:
        """Whether the backbone is what the last results were computed with."""
        return self._state.is_of(self._backbone)

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`."""
        return self._current().evaluate_within(structure)

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
            self.replaced = self._evaluator.replaced
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
    """A backbone as it was at some time: its modules, and the numbers in them.

    Objects that are neither modules nor tensors count by identity. Whether a module is in training mode does not
    matter.
    """

    def __init__(self, backbone: Backbone) -> None:
        # Strong references throughout: an identity is given again once its object is gone.
        self._modules = list(backbone.modules())
        self._contents = [getattr(module, name) for module in self._modules for name in _CONTENTS]
        self._attributes = [vars(module) for module in self._modules]
        self._named = [
            (operator.itemgetter(*(name for name in attributes if name not in _OF_NO_MATTER)), attributes)
            for attributes in self._attributes
        ]
        self._filled = [contents for contents in self._contents if contents]
        self._empty = [contents for contents in self._contents if not contents]
        self._counts = self._all_counts()
        self._objects = self._all_objects()
        self._config = copy.deepcopy(backbone.config)
        self._numbers = _Numbers([each for each in self._objects if isinstance(each, Tensor)])
        self._held = _Held([*self._contents, *self._attributes])

    @classmethod
    def of(cls, backbone: Backbone) -> Self:
        """The state of a backbone now."""
        return cls(backbone)

    @timed("following")
    def is_of(self, backbone: Backbone) -> bool:
        """Whether a backbone is still in this state, to the bit."""
        return (
            self._modules[0] is backbone
            and self._has_the_same_objects()
            and bool(backbone.config == self._config)
            and self._numbers.are_the_same()
        )

    def _has_the_same_objects(self) -> bool:
        functions = steps.under_lock
        if functions is not None:
            return bool(functions.same_objects(_next, *self._held.given))
        if any(self._empty) or self._all_counts() != self._counts:
            return False
        try:
            return all(map(operator.is_, self._all_objects(), self._objects))
        except KeyError:  # one has gone, and another one has come
            return False

    def _all_counts(self) -> list[int]:
        """How much every module consists of, where it consists of anything."""
        return [*map(len, self._filled), *map(len, self._attributes)]

    def _all_objects(self) -> list[Any]:
        """Everything that the modules consist of, in an order that follows from how they were made."""
        objects = [*chain.from_iterable(map(dict.values, self._filled))]
        for get, attributes in self._named:
            objects += get(attributes)
        return objects


@final
class _Held:
    """What dictionaries of modules hold at some time, as compiled code is given it.

    Attributes:
        given: addresses and numbers.
    """

    def __init__(self, dictionaries: list[dict[Any, Any]]) -> None:
        items = [item for each in dictionaries for item in each.items()]
        self._kept = dictionaries, items
        count, total = len(dictionaries), len(items)
        values = (None if key in _OF_NO_MATTER else id(value) for key, value in items)
        self._arrays = (
            (ctypes.c_void_p * count)(*map(id, dictionaries)),
            (ctypes.c_int64 * count)(*map(len, dictionaries)),
            (ctypes.c_void_p * total)(*(id(key) for key, _ in items)),
            (ctypes.c_void_p * total)(*values),
        )
        self.given = count, *(ctypes.addressof(each) for each in self._arrays)


@final
class _Numbers:
    """The bits of some tensors at some time.

    Counters of torch for changes in place miss those through ``.data`` or NumPy, so the bits themselves are looked
    at, at every step of dynamics. Of tensors that lie in one piece in the memory of the CPU, compiled code takes a
    digest, which reads half as much as a comparison; without it they are compared as the bytes that they are, in a
    third of the time of torch's own comparison.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self._plain = [tensor for tensor in tensors if _is_plain(tensor)]
        self._others = [tensor for tensor in tensors if not _is_plain(tensor)]
        self._kept = [tensor.detach().clone() for tensor in self._plain]
        self._kept_others = [tensor.detach().clone() for tensor in self._others]
        self._places = self._all_places()
        self._starts = list(map(Tensor.data_ptr, self._plain))
        self._kept_starts = list(map(Tensor.data_ptr, self._kept))
        self._sizes = [tensor.numel() * tensor.element_size() for tensor in self._plain]
        count = len(self._plain)
        self._arrays = (  # for compiled code: what there is, and what was there
            (ctypes.c_void_p * count)(*self._starts),
            (ctypes.c_void_p * count)(*self._kept_starts),
            (ctypes.c_int64 * count)(*self._sizes),
        )
        self._addresses = [ctypes.addressof(each) for each in self._arrays]
        self._digest: ctypes.Array[ctypes.c_char] | None = None

    def are_the_same(self) -> bool:
        """Whether no bit has changed, nor where a tensor lies and how it is read."""
        return (
            self._all_places() == self._places
            and self._have_the_same_bytes()
            and all(map(_same, self._others, self._kept_others))
        )

    def _have_the_same_bytes(self) -> bool:
        functions = steps.under_lock
        if functions is None:
            return not any(map(_compare, self._starts, self._kept_starts, self._sizes))
        count, (live, kept, sizes) = len(self._sizes), self._addresses
        if self._digest is None:
            digest = ctypes.create_string_buffer(_DIGEST)
            functions.digest(count, kept, sizes, ctypes.addressof(digest))
            self._digest = digest
        return bool(functions.same_digest(count, live, sizes, ctypes.addressof(self._digest)))

    def _all_places(self) -> list[Any]:
        """Where the plain tensors lie, and how: before this is known to be as it was, nothing is read there."""
        return [
            *map(Tensor.data_ptr, self._plain),
            *map(Tensor.numel, self._plain),
            *map(Tensor.stride, self._plain),
            *map(_dtype, self._plain),
        ]


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
    )


def _same(live: Tensor, kept: Tensor) -> bool:
    return live.dtype == kept.dtype and live.device == kept.device and torch.equal(live, kept)
