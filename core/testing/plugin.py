"""Check whatever a name stands for: a component, a plugin, or a distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from halocline.errors import HaloclineError, PluginError, unknown_name
from halocline.executor import Executor
from halocline.model import Backbone
from halocline.model.build import build_backbone
from halocline.model.pruner import Pruner
from halocline.partition import Partitioner
from halocline.plugin import Component, Kind, Plugin, registry
from halocline.testing.report import CheckResult, Report
from halocline.testing.suite import check_backbone, check_executor, check_partitioner, check_pruner

#: The distribution whose backbones are run by executors and cut by pruners under test.
REFERENCE = "halocline"


def check_plugin(name: str) -> Report:
    """Run the conformance suite on everything that a name stands for.

    Args:
        name: of a component, as ``name`` or ``distribution/name``; of a plugin, as its entry point or
            ``distribution:entry-point``; or of a distribution, for all that it brings.

    Raises:
        UsageError: nothing of this name is installed.
    """
    plugins = [p for p in registry().plugins if name in (p.name, p.entry_point, p.distribution)]
    found = [c for plugin in registry().plugins for c in plugin.components if name in _names(c)]
    components = found or [component for plugin in plugins for component in plugin.components]
    results = [] if found else [result for plugin in plugins for result in _discovery(plugin)]
    if not (components or results):
        raise unknown_name("plugin or component", name, _all_names())
    for component in components:
        results += _check_component(component)
    return Report(tuple(results))


def _names(component: Component) -> tuple[str, str]:
    return component.name, component.qualified_name


def _all_names() -> set[str]:
    plugins = registry().plugins
    components = {component.name for plugin in plugins for component in plugin.components}
    return components | {plugin.entry_point for plugin in plugins} | {plugin.distribution for plugin in plugins}


def _discovery(plugin: Plugin) -> list[CheckResult]:
    """Whether a plugin was found to be usable."""
    if plugin.status == "ok":
        return [CheckResult("discovery", plugin.name, "passed")]
    status = {"warned": "warned", "disabled": "skipped"}.get(plugin.status, "failed")
    return [CheckResult("discovery", plugin.name, status, f"{plugin.reason}. {plugin.fix}".rstrip())]  # type: ignore[arg-type]


def _check_component(component: Component) -> list[CheckResult]:
    """Load a component and run the checks of its kind."""
    assert component.kind is not None
    label = component.qualified_name
    try:
        target = registry().load(component.kind, label)
        report = _SUITES.get(component.kind, _nothing)(label, target)
    except HaloclineError as error:
        return [CheckResult("import", label, "failed", str(error))]
    checked = [replace(result, component=label) for result in report.results]
    return [CheckResult("import", label, "passed"), *checked]


def _backbone(label: str, target: Any) -> Report:
    _require_subclass(label, target, Backbone)
    return check_backbone(build_backbone(label, target.example_config()))


def _executor(label: str, target: Any) -> Report:
    _require_subclass(label, target, Executor)
    reports = [check_executor(target(device="cpu"), backbone) for backbone in _reference_backbones()]
    return Report(tuple(result for report in reports for result in report.results))


def _partitioner(label: str, target: Any) -> Report:
    _require_subclass(label, target, Partitioner)
    return check_partitioner(target())


def _pruner(label: str, target: Any) -> Report:
    _require_subclass(label, target, Pruner)
    reports = [check_pruner(target(layers=1), backbone) for backbone in _reference_backbones()]
    return Report(tuple(result for report in reports for result in report.results))


def _nothing(label: str, target: Any) -> Report:
    """Zoos and commands have no contract beyond being importable."""
    del label, target
    return Report(())


_SUITES: dict[Kind, Callable[[str, Any], Report]] = {
    "backbone": _backbone,
    "executor": _executor,
    "partitioner": _partitioner,
    "pruner": _pruner,
}


def _require_subclass(label: str, target: Any, kind: type) -> None:
    if not (isinstance(target, type) and issubclass(target, kind)):
        raise PluginError(f"{label} is no subclass of {kind.__module__}.{kind.__qualname__}.")


def _reference_backbones() -> list[Backbone]:
    """What comes in the box, small."""
    known = [c.qualified_name for c in registry().components("backbone") if c.distribution == REFERENCE]
    return [build_backbone(name, registry().load("backbone", name).example_config()) for name in known]
