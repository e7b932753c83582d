"""What is read from a foreign file: every hyper-parameter and tensor is either understood or refused by name."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, final

from halocline.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignModel:
    """A model in the words of the package that made it.

    Attributes:
        dialect: the name of its converter: ``matgl``, ``matgl-tensornet``, ``mattersim``, ``mace``, ``sevennet``,
            ``nequix``, ``chgnet``, ``orb``, ``jmp`` or ``pnnl``.
        config: its hyper-parameters under its names; plain JSON values.
        tensors: its weights and constants under its names, each with memory of its own.
        facts: where it was read from, for the card: ``files`` (name → SHA-256) and what the file says of itself.
        licence: of ``code`` and ``weights``, SPDX identifiers, where all files of the dialect have one.
        citation: of what is in all of them.
    """

    dialect: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    licence: Mapping[str, str] = field(default_factory=dict)
    citation: tuple[str, ...] = ()


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


def check_blocks(path: Path, tensors: Mapping[str, Tensor], blocks: int) -> None:
    """Check that there can be so many blocks, before anything is listed for each.

    Raises:
        CheckpointError: the file has fewer tensors than blocks.
    """
    if blocks > len(tensors):
        raise CheckpointError(
            f"The hyper-parameters ask for {blocks} blocks, but {path} has only {len(tensors)} tensors."
        )


def check_tensors(path: Path, tensors: Mapping[str, Tensor], layout: Mapping[str, tuple[int, ...]]) -> None:
    """Check that a file has the tensors that its hyper-parameters ask for, and no others.

    Args:
        path: the file, for messages.
        tensors: what it has.
        layout: name → shape.

    Raises:
        CheckpointError: one is missing, not known, of another shape, or holds something else than finite numbers.
    """
    for name in layout:
        if name not in tensors:
            raise CheckpointError(f"{path} has no tensor {name}, which its hyper-parameters ask for.")
    for name, tensor in tensors.items():
        if name not in layout:
            raise CheckpointError(
                f"{path} has a tensor {show(name)}, for which its hyper-parameters have no place."
            )
        if tuple(tensor.shape) != layout[name]:
            raise CheckpointError(
                f"The tensor {name} in {path} has the shape {tuple(tensor.shape)}; "
                f"its hyper-parameters ask for {layout[name]}."
            )
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise CheckpointError(f"The tensor {name} in {path} holds something else than finite numbers.")


def show_name(name: str) -> str:
    """The name of a class for a message, whole unless it is none."""
    return repr(name) if re.fullmatch(r"[\w.]{1,100}", name, re.ASCII) else show(name)


def show(value: Any) -> str:
    """A value out of a file for a message: never longer than a line, however it is nested."""
    return reprlib.repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
