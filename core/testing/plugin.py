"""Check whatever a name stands for: a component, a plugin, or a distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from halocline.errors import HaloclineError, PluginError, UsageError, unknown_name
from halocline.executor import Executor
from halocline.exporter import Exporter
from halocline.model import Backbone
from halocline.model.build import build_backbone
from halocline.model.pruner import Pruner, make_pruner
from halocline.partition import Partitioner
from halocline.plugin import Component, Kind, Plugin, registry
from halocline.potential.term import Term
from halocline.program.kernel import Kernel
from halocline.testing.report import CheckResult, Report, Status
from halocline.testing.suite import (
    check_backbone,
    check_executor,
    check_exporter,
    check_kernel,
    check_partitioner,
    check_pruner,
)
from halocline.training.fit.fitter import Fitter

#: The distribution whose backbones are run by executors and cut by pruners under test.
REFERENCE = "halocline"

#: What discovery says of a plugin, as the status of a check.
_STATUS: dict[str, Status] = {"ok": "passed", "warned": "warned", "disabled": "skipped", "failed": "failed"}


def check_plugin(name: str) -> Report:
    """Run the conformance suite on everything that a name stands for.

    Args:
        name: of a component, as ``name`` or ``distribution/name``; of a plugin, as its entry point or
            ``distribution:entry-point``; or of a distribution, for all that it brings.

    Raises:
        UsageError: nothing of this name is installed.
    """
    return Report(tuple(result for result in check_one_by_one(name) if isinstance(result, CheckResult)))


def check_one_by_one(name: str) -> Iterator[CheckResult | str]:
    """Check the components that a name stands for as `check_plugin` does, and yield each result as it comes.

    Yields:
        The name of a component before it is checked, and its results afterwards.

    Raises:
        UsageError: no plugin or component has this name.
    """
    plugins = [p for p in registry().plugins if name in (p.name, p.entry_point, p.distribution)]
    found = [c for plugin in registry().plugins for c in plugin.components if name in _names(c)]
    components = found or [component for plugin in plugins for component in plugin.components]
    if not (found or plugins):
        faulty = " ".join(f"{p.name} is not usable: {p.reason}." for p in registry().plugins if p.is_faulty)
        raise UsageError(f"{unknown_name('plugin or component', name, _all_names())} {faulty}".strip())
    if not found:
        yield from map(_discovery, plugins)
    for component in components:
        yield component.qualified_name
        yield from _check_component(component)


def _names(component: Component) -> tuple[str, str]:
    return component.name, component.qualified_name


def _all_names() -> set[str]:
    plugins = registry().plugins
    components = {component.name for plugin in plugins for component in plugin.components}
    return components | {plugin.entry_point for plugin in plugins} | {plugin.distribution for plugin in plugins}


def _discovery(plugin: Plugin) -> CheckResult:
    """Whether a plugin was found to be usable."""
    message = f"{plugin.reason}. {plugin.fix}".strip(" .") + "." if plugin.reason else ""
    return CheckResult("discovery", plugin.name, _STATUS[plugin.status], message)


def _check_component(component: Component) -> list[CheckResult]:
    """Load a component and run the checks of its kind."""
    assert component.kind is not None
    label = component.qualified_name
    try:
        target = registry().load(component.kind, label)
    except HaloclineError as error:
        return [CheckResult("import", label, "failed", str(error))]
    imported = CheckResult("import", label, "passed")
    try:
        return [imported, *_SUITES.get(component.kind, _nothing)(label, target)]
    except Exception as error:  # whatever a constructor raises is a finding about the component
        return [imported, CheckResult("build", label, "failed", f"{type(error).__name__}: {error}")]


def _backbone(label: str, target: Any) -> list[CheckResult]:
    _require_subclass(label, target, Backbone)
    return _labelled(label, check_backbone(build_backbone(label, target.example_config())))


def _executor(label: str, target: Any) -> list[CheckResult]:
    _require_subclass(label, target, Executor)
    diagnosis = target.diagnose()
    if not diagnosis.usable:
        return [CheckResult("diagnosis", label, "skipped", diagnosis.reason)]
    reports = [_labelled(f"{label} with {b.name}", check_executor(target(device="cpu"), b)) for b in _examples()]
    return [result for report in reports for result in report]


def _exporter(label: str, target: Any) -> list[CheckResult]:
    _require_subclass(label, target, Exporter)
    try:
        exporter = target()
    except UsageError as error:  # it needs a package that is not installed
        return [CheckResult("build", label, "skipped", str(error))]
    reports = [_labelled(f"{label} of {b.name}", check_exporter(exporter, b)) for b in _examples()]
    return [result for report in reports for result in report]


def _partitioner(label: str, target: Any) -> list[CheckResult]:
    _require_subclass(label, target, Partitioner)
    return _labelled(label, check_partitioner(target()))


def _kernel(label: str, target: Any) -> list[CheckResult]:
    _require_subclass(label, target, Kernel)
    reports = [_labelled(f"{label} in {b.name}", check_kernel(target(), b)) for b in _examples()]
    return [result for report in reports for result in report]


def _pruner(label: str, target: Any) -> list[CheckResult]:
    _require_subclass(label, target, Pruner)
    pruner = make_pruner(f"{label}:{target.example}" if target.example else label)
    reports = [_labelled(f"{label} on {b.name}", check_pruner(pruner, b)) for b in _examples()]
    results = [result for report in reports for result in report]
    if all(result.status == "skipped" for result in results):
        return [*results, CheckResult("prunes", label, "failed", f"It prunes none of them: {results[0].message}")]
    return results


def _fitter(label: str, target: Any) -> list[CheckResult]:
    """That a fitter fits is shown by fits, which take too long here."""
    _require_subclass(label, target, Fitter)
    return []


def _term(label: str, target: Any) -> list[CheckResult]:
    """What options it needs is not known here."""
    _require_subclass(label, target, Term)
    return []


def _nothing(label: str, target: Any) -> list[CheckResult]:
    """Zoos and commands are not checked beyond their import."""
    del label, target
    return []


_SUITES: dict[Kind, Callable[[str, Any], list[CheckResult]]] = {
    "backbone": _backbone,
    "executor": _executor,
    "kernel": _kernel,
    "exporter": _exporter,
    "fitter": _fitter,
    "partitioner": _partitioner,
    "pruner": _pruner,
    "term": _term,
}


def _require_subclass(label: str, target: Any, kind: type) -> None:
    if not (isinstance(target, type) and issubclass(target, kind)):
        raise PluginError(f"{label} is no subclass of {kind.__module__}.{kind.__qualname__}.")


def _labelled(label: str, report: Report) -> list[CheckResult]:
    return [replace(result, component=label) for result in report.results]


def _examples() -> list[Backbone]:
    """The backbones that come in the box, small."""
    known = [c.qualified_name for c in registry().components("backbone") if c.distribution == REFERENCE]
    return [build_backbone(name, registry().load("backbone", name).example_config()) for name in known]
