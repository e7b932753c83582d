"""What a plugin says of itself: its components, the hooks that ask for them, and the version of that agreement."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import pluggy

from halocline.errors import PluginError

Kind = Literal[
    "backbone",
    "pruner",
    "partitioner",
    "executor",
    "evaluator",
    "fitter",
    "exporter",
    "converter",
    "kernel",
    "term",
    "zoo",
    "command",
]

# A name must survive ``name:key=value,key=value`` on the command line and ``distribution/name``.
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_OPTION = re.compile(r"([A-Za-z_]\w*)?")
# One line for listings.
_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{0,200}")

#: A plugin module states the version it is written for as ``halocline_api = 2``.
#: It rises when an existing plugin would have to change; a new hook or argument does not raise it.
API_VERSION = 2

#: The page that says what changed from one version to the next, for whoever has a plugin of an older one.
MIGRATION = "docs/plugin-api.md"

PROJECT = "halocline"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


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


class Hooks:
    """Every hook; each returns descriptions and imports none of what it describes."""

    @hookspec
    def halocline_backbones(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe backbones; targets are subclasses of `halocline.model.Backbone`."""

    @hookspec
    def halocline_pruners(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe pruners; targets are subclasses of `halocline.model.pruner.Pruner`."""

    @hookspec
    def halocline_partitioners(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe partitioners; targets are subclasses of `halocline.partition.Partitioner`."""

    @hookspec
    def halocline_executors(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe executors; targets are subclasses of `halocline.executor.Executor`."""

    @hookspec
    def halocline_evaluators(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe evaluators of their own; targets are subclasses of `halocline.evaluator.Evaluator`.

        They are selected like executors, and given ``backbone``, ``precision``, ``division``, ``device``,
        ``halo``, ``compress`` and the options of the backend by keyword.
        """

    @hookspec
    def halocline_fitters(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe what trains elsewhere than in torch.

        Targets are subclasses of `halocline.training.fit.fitter.Fitter`. They are selected by
        ``halocline train --backend``, and given ``problem``, ``samples`` and their options by keyword.
        """

    @hookspec
    def halocline_exporters(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe exporters; targets are subclasses of `halocline.exporter.Exporter`."""

    @hookspec
    def halocline_converters(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe converters of models of other packages, under the names of the formats that the zoo reads.

        Targets are functions ``(config, tensors) -> Checkpoint`` of hyper-parameters and tensors in the words of
        the other package.
        """

    @hookspec
    def halocline_kernels(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe kernels; targets are subclasses of `halocline.program.kernel.Kernel`."""

    @hookspec
    def halocline_terms(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe what may be added to networks; targets are subclasses of `halocline.potential.term.Term`."""

    @hookspec
    def halocline_zoos(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe model zoos; targets are classes with ``names()`` and ``path(name)``.

        That of the default zoo also has ``default``, the model that commands take where none is named.
        """

    @hookspec
    def halocline_commands(self) -> list[Component]:  # type: ignore[empty-body]
        """Describe commands; targets are functions ``configure(parser)``."""


KIND_OF_HOOK: dict[str, Kind] = {
    "halocline_backbones": "backbone",
    "halocline_pruners": "pruner",
    "halocline_partitioners": "partitioner",
    "halocline_executors": "executor",
    "halocline_evaluators": "evaluator",
    "halocline_fitters": "fitter",
    "halocline_exporters": "exporter",
    "halocline_converters": "converter",
    "halocline_kernels": "kernel",
    "halocline_terms": "term",
    "halocline_zoos": "zoo",
    "halocline_commands": "command",
}
