"""What a plugin brings: a name, and where to import the thing when it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from halocline.errors import PluginError

Kind = Literal[
    "backbone", "pruner", "partitioner", "executor", "evaluator", "exporter", "converter", "zoo", "command"
]

# A name must survive ``name:key=value,key=value`` on the command line and ``distribution/name``.
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# One line for listings.
_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{0,200}")


@dataclass(frozen=True, slots=True)
class Component:
    """One named thing that a plugin brings; its target is imported only when it is used.

    Args:
        name: How users select it: lower-case letters, digits, ``.``, ``_`` and ``-``.
        target: Where it is, as ``"package.module:attribute"``.
        summary: One line for listings, at most 200 characters.

    Raises:
        PluginError: ``name``, ``target`` or ``summary`` is malformed.
    """

    name: str
    target: str
    summary: str = ""
    #: Filled in on discovery, whatever a plugin writes there: what it is, and the distribution it came in.
    kind: Kind | None = field(default=None, kw_only=True)
    distribution: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _require(_NAME, "name", self.name, "lower-case letters, digits, '.', '_' and '-'")
        _require(_TARGET, "target", self.target, "the form 'package.module:attribute'")
        _require(_LINE, "summary", self.summary, "one line of text")

    @property
    def qualified_name(self) -> str:
        """``distribution/name``, which selects this component whatever else is installed."""
        return f"{self.distribution}/{self.name}"


def _require(pattern: re.Pattern[str], what: str, value: object, form: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PluginError(f"The component {what} {value!r} is malformed; it must have {form}.")
