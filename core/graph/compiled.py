"""Compiled code for what a step of dynamics does to every candidate and every edge, and for small searches.

Beside each call stands code by NumPy or torch, which is its definition. Results are equal to the bit, so it does
not matter when the one takes over from the other, nor whether there is a compiler at all.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.cache import find_cache
from halocline.errors import KernelError
from halocline.native import library

_logger = logging.getLogger(__name__)

#: So many passes over neighbour lists are made in a process before anything is compiled: whoever evaluates a few
#: structures does not wait for a compiler.
WORTHWHILE: Final = 50

#: Edges of a list that count as one more pass: of a million atoms, the first pass takes longer than a compiler.
MANY: Final = 100_000

_SOURCES: Final = tuple(Path(__file__).parent / name for name in ("steps.cpp", "search.cpp"))

_count, _pointer, _number = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double

#: What each function takes, and what it returns.
_SIGNATURES: Final[dict[str, tuple[Sequence[Any], Any]]] = {
    "farthest": ((_count, _pointer, _pointer), _number),
    "cut": ((_count, _pointer, _pointer, _number, *[_pointer] * 3), _count),
    "keep": ((_count, *[_pointer] * 10), None),
    "pairs": ((_count, *[_pointer] * 4), _count),
    "pull_float32": ((_count, _count, *[_pointer] * 6), None),
    "pull_float64": ((_count, _count, *[_pointer] * 6), None),
    "follow": ([_pointer] * 6, ctypes.c_int),
    "sums_float32": ([_pointer] * 5, None),
    "sums_float64": ([_pointer] * 5, None),
    "digest": ((_count, *[_pointer] * 3), None),
    "same_digest": ((_count, *[_pointer] * 3), ctypes.c_int),
    "same_objects": ((_pointer, _count, *[_pointer] * 4), ctypes.c_int),
    "search": ((_pointer, _count, *[_pointer] * 3), _count),
    "opposites": ((_count, _count, *[_pointer] * 4), None),
}


class Candidates(ctypes.Structure):
    """As in ``steps.cpp``."""

    _fields_ = (
        ("receivers", _pointer),
        ("senders", _pointer),
        ("offsets", _pointer),
        ("terms", _count),
        ("components", _pointer),
        ("values", _pointer),
    )


class Prepared(ctypes.Structure):
    """As in ``steps.cpp``."""

    _fields_ = (
        ("atoms", _count),
        ("candidates", _count),
        ("rows", _count),
        ("searched", _pointer),
        ("room", _number),
        ("given", Candidates),
        ("partners", _pointer),
        ("square_of_cutoff", _number),
        ("square_of_suspect", _number),
        ("narrow", _pointer),
        ("wide", _pointer),
        ("edges", _count),
        ("pairs", _count),
        ("inside", _pointer),
        ("receivers", _pointer),
        ("senders", _pointer),
    )


#: What ``follow`` says of the edges: that they could be any, or are those of the step before.
UNSURE: Final = 0
SAME: Final = 1


class Searched(ctypes.Structure):
    """As in ``search.cpp``."""

    _fields_ = (
        ("atoms", _count),
        ("directions", _count),
        ("positions", _pointer),
        ("lattice", _pointer),
        ("inverse", _pointer),
        ("heights", _pointer),
        ("transform", _pointer),
        ("terms", _count),
        ("axes", _pointer),
        ("components", _pointer),
        ("values", _pointer),
        ("reach", _number),
        ("square_of_cutoff", _number),
    )


@final
class Steps:
    """The functions of ``steps.cpp`` and ``search.cpp`` once they are worthwhile.

    Attributes:
        functions: None before, and where they cannot be compiled.
        under_lock: the same, called without letting go of the interpreter's lock.
    """

    def __init__(self) -> None:
        self.functions: ctypes.CDLL | None = None
        self.under_lock: ctypes.PyDLL | None = None
        self._passes = 0

    def of_pass(self, edges: int = 0) -> ctypes.CDLL | None:
        """The functions, for one more pass over so many edges of a neighbour list."""
        before = self._passes
        self._passes = before + 1 + edges // MANY
        if before < WORTHWHILE <= self._passes:
            self.functions = _compiled()
            if self.functions is not None:
                self.under_lock = ctypes.PyDLL(None, handle=self.functions._handle)
                _declare(self.under_lock)
        return self.functions


#: Of this process.
steps: Final = Steps()


def load_steps() -> ctypes.CDLL:
    """The library of steps.

    Raises:
        KernelError: it cannot be compiled here.
    """
    source = "\n".join(each.read_text(encoding="utf-8") for each in _SOURCES)
    found = library("steps", source, ("-ffp-contract=off",))
    _declare(found)
    return found


def _compiled() -> ctypes.CDLL | None:
    if find_cache() is None:  # where nothing can be kept, nobody is to be asked for a place for this
        return None
    try:
        return load_steps()
    except KernelError as error:
        _logger.info("Steps of dynamics go on by NumPy: %s", error)
        return None


def _declare(functions: ctypes.CDLL) -> None:
    for name, (takes, returns) in _SIGNATURES.items():
        function = getattr(functions, name)
        function.argtypes, function.restype = takes, returns


def address(array: NDArray[Any]) -> int:
    """Where an array lies; it must be C-contiguous, and be kept for as long as that is used."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))  # sooner than the array's own answer
    except (TypeError, ValueError):  # nobody may write to it, or it is empty
        return int(array.ctypes.data)


def plain(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """The array itself, if it is C-contiguous and of that dtype; else a copy that is."""
    return np.ascontiguousarray(array, dtype)
