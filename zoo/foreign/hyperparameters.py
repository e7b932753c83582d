"""Hyper-parameters of foreign models: every one is either understood or refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from halocline.errors import CheckpointError
from halocline.zoo.foreign.model import show


class Rule(NamedTuple):
    """The values that a hyper-parameter may have.

    Attributes:
        words: the same in words, to follow "must be".
        holds: whether a value is allowed.
        required: whether it must be there.
        kept: whether the function depends on it.
    """

    words: str
    holds: Callable[[Any], bool]
    required: bool = True
    kept: bool = True


#: Far more than any model has layers or channels; products of a few such numbers fit into 64 bits.
_LARGEST_COUNT = 65_536

COUNT = Rule(
    f"a positive whole number of at most {_LARGEST_COUNT}",
    lambda value: type(value) is int and 0 < value <= _LARGEST_COUNT,
)
LENGTH = Rule("a positive length in Å", lambda value: _is_number(value) and value > 0)
FLAG = Rule("true or false", lambda value: type(value) is bool)
UNUSED = Rule("anything", lambda value: True, required=False, kept=False)


def only(value: Any, *, required: bool = True) -> Rule:
    """The rule of a hyper-parameter of which one value is implemented."""
    return Rule(repr(value), lambda given: type(given) is type(value) and given == value, required, kept=False)


def read_hyperparameters(path: Path, given: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Check hyper-parameters and give those that the function depends on.

    Args:
        path: the file they are from, for messages.
        given: name → value.
        rules: what is known.

    Raises:
        CheckpointError: one is unknown, missing, or has a value that is not implemented.
    """
    if not isinstance(given, dict):
        raise CheckpointError(f"The hyper-parameters in {path} are no table of names and values.")
    for name in given:
        if name not in rules:
            raise CheckpointError(f"{path} has the hyper-parameter {show(name)}, whose meaning is not known here.")
    for name, rule in rules.items():
        if name not in given and rule.required:
            raise CheckpointError(f"{path} lacks the hyper-parameter {name!r}.")
        if name in given and not rule.holds(given[name]):
            raise CheckpointError(
                f"The hyper-parameter {name!r} in {path} must be {rule.words}, not {show(given[name])}."
            )
    return {name: given[name] for name, rule in rules.items() if rule.kept and name in given}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < math.inf and abs(value) < 2**63
