"""What a plugin brings: a name, and where to import the thing when it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from halocline.errors import PluginError

Kind = Literal[
    "backbone",
    "pruner",
    "partitioner",
    "executor",
    "evaluator",
    "exporter",
    "converter",
    "kernel",
    "zoo",
    "command",
]

# A name must survive ``name:key=value,key=value`` on the command line and ``distribution/name``.
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_OPTION = re.compile(r"([A-Za-z_]\w*)?")
# One line for listings.
_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{0,200}")


@dataclass(frozen=True, slots=True)
class Component:
    """One named thing that a plugin brings; its target is imported only when it is used.

    Args:
        name: How users select it: lower-case letters, digits, ``.``, ``_`` and ``-``.
        target: Where it is, as ``"package.module:attribute"``.
        summary: One line for listings, at most 200 characters.
        default: Whether it is taken where one of its kind is needed and none is named. Of several, the one that
            comes in the box is.
        number: Which of its options a bare number is that stands where a name with options is expected, such as
            the ``2`` of ``--prune 2``. Only that of the default of its kind counts.

    Raises:
        PluginError: ``name``, ``target``, ``summary`` or ``number`` is malformed.
    """

    name: str
    target: str
    summary: str = ""
    default: bool = field(default=False, kw_only=True)
    number: str = field(default="", kw_only=True)
    #: Filled in on discovery, whatever a plugin writes there: what it is, and the distribution it came in.
    kind: Kind | None = field(default=None, kw_only=True)
    distribution: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _require(_NAME, "name", self.name, "lower-case letters, digits, '.', '_' and '-'")
        _require(_TARGET, "target", self.target, "the form 'package.module:attribute'")
        _require(_LINE, "summary", self.summary, "one line of text")
        _require(_OPTION, "number", self.number, "the form of an argument of Python, or be empty")

    @property
    def qualified_name(self) -> str:
        """``distribution/name``, which selects this component whatever else is installed."""
        return f"{self.distribution}/{self.name}"


def _require(pattern: re.Pattern[str], what: str, value: object, form: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PluginError(f"The component {what} {value!r} is malformed; it must have {form}.")
