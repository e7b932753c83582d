"""The hooks that a plugin may implement, and the version of that agreement."""

from __future__ import annotations

import pluggy

from halocline.plugin.spec import Component, Kind

#: A plugin module states the version it is written for as ``halocline_api = 2``.
#: It rises when an existing plugin would have to change; a new hook or argument does not raise it.
API_VERSION = 2

#: The page that says what changed from one version to the next, for whoever has a plugin of an older one.
MIGRATION = "docs/plugin-api.md"

PROJECT = "halocline"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


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
    "halocline_exporters": "exporter",
    "halocline_converters": "converter",
    "halocline_kernels": "kernel",
    "halocline_zoos": "zoo",
    "halocline_commands": "command",
}
