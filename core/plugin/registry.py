"""Everything that plugins bring, found one by one: a broken one is reported and hurts nobody else."""

from __future__ import annotations

import functools
import importlib
import logging
import operator
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

from halocline.errors import PluginError, UsageError, unknown_name
from halocline.plugin.apart import WITHIN, examine_apart
from halocline.plugin.entry_points import BUILTIN, CORE, Plugin, entry_points
from halocline.plugin.examination import examine
from halocline.plugin.hooks import Component, Kind
from halocline.plugin.process_state import output_to_stderr, process_state_kept
from halocline.plugin.verdicts import verdict

_logger = logging.getLogger(__name__)


class Registry:
    """Everything that plugins bring.

    A plain name selects a component if it is the only one of its kind with that name, or if it is
    built in; ``distribution/name`` always selects.

    Attributes:
        plugins: One report per entry point, usable or not.
    """

    def __init__(self, plugins: tuple[Plugin, ...]) -> None:
        self.plugins = plugins
        self._components = tuple(component for plugin in plugins for component in plugin.components)

    def components(self, kind: Kind) -> tuple[Component, ...]:
        """All components of one kind, built-in ones first; several may share a name."""
        return tuple(component for component in self._components if component.kind == kind)

    def names(self, kind: Kind) -> dict[str, Component]:
        """The shortest name that selects each component of one kind."""
        return {
            component.qualified_name if self.rivals(component) else component.name: component
            for component in self.components(kind)
        }

    def rivals(self, component: Component) -> tuple[Component, ...]:
        """The others of that kind and name because of which the plain name does not select it."""
        if component.distribution == BUILTIN:
            return ()
        same = (c for c in self.components(_kind(component)) if c.name == component.name)
        return tuple(c for c in same if c is not component)

    def default(self, kind: Kind) -> Component:
        """The component that is taken where one of a kind is needed and none is named.

        Raises:
            UsageError: None of those installed is meant for that.
        """
        for component in self.components(kind):
            if component.default:
                return component
        raise UsageError(f"No {kind} that is installed is taken by default; name one.")

    def find(self, kind: Kind, name: str) -> Component:
        """Find a component by its plain or qualified name.

        Raises:
            UsageError: There is none of that name, or several.
        """
        return self.find_among((kind,), name, kind)

    def find_among(self, kinds: Sequence[Kind], name: str, what: str) -> Component:
        """Find a component of one of several kinds that are selected in the same way, such as backends.

        Args:
            kinds: which it may be.
            name: plain or qualified.
            what: they are called together, for messages.

        Raises:
            UsageError: There is none of that name, or several.
        """
        found = [c for kind in kinds for c in self.components(kind) if name in (c.name, c.qualified_name)]
        chosen = [c for c in found if c.distribution == BUILTIN] or found
        if not chosen:
            raise unknown_name(what, name, [known for kind in kinds for known in self.names(kind)])
        if len(chosen) > 1:
            choices = " or ".join(c.qualified_name for c in chosen)
            raise UsageError(f"The {what} name {name!r} is ambiguous; say {choices}.")
        return chosen[0]

    def load(self, kind: Kind, name: str) -> Any:
        """Import a component's target.

        Raises:
            UsageError: As for `find`.
            PluginError: The target cannot be imported.
        """
        component = self.find(kind, name)
        target, changed = _import_target(component)
        if changed:
            _logger.warning(
                "Importing %s changed %s; what can be put back was.", component.qualified_name, ", ".join(changed)
            )
        return target


@functools.cache
def registry() -> Registry:
    """The registry of this process; plugins are looked for at the first call."""
    return Registry(discover())


def discover(*, anew: bool = False) -> tuple[Plugin, ...]:
    """Read every entry point of the group, built-in ones first.

    What came in the box is imported and asked; strangers are examined in processes of their own, and the verdicts
    kept.

    Args:
        anew: Examine those again of which something bad is known.

    Returns:
        One report per entry point, usable or not.

    Raises:
        PluginError: A plugin is faulty and ``HALOCLINE_PLUGIN_ERRORS=raise`` asks for an error.
        UsageError: ``HALOCLINE_PLUGIN_ERRORS`` has an unknown value.
    """
    disabled = {name.strip() for name in os.environ.get("HALOCLINE_DISABLE_PLUGINS", "").split(",")}
    must_raise = _errors_must_raise()
    plugins: list[Plugin] = []
    for entry_point, plugin in entry_points():
        if entry_point is not CORE and disabled & {plugin.entry_point, plugin.distribution, plugin.name}:
            plugin = replace(plugin, status="disabled", reason="named in HALOCLINE_DISABLE_PLUGINS")
        elif entry_point is not None:
            plugin = _refuse_twice(_judge(entry_point, plugin, anew), plugins)
        if must_raise and plugin.is_faulty:
            raise PluginError(f"Plugin {plugin.name}: {plugin.reason}. {plugin.fix}")
        plugins.append(plugin)
    return tuple(plugins)


def _judge(entry_point: EntryPoint, plugin: Plugin, anew: bool) -> Plugin:
    """Find out what becomes of one plugin, in the way that is due to it."""
    if plugin.distribution == BUILTIN:
        if entry_point.value.startswith(f"{BUILTIN}."):
            return examine(entry_point, plugin)
        reason = f"it calls its distribution {BUILTIN}, and its module {entry_point.value} is none of ours"
        return replace(plugin, status="failed", reason=reason, fix="Let its authors name it otherwise.")
    if os.environ.get(WITHIN):
        return replace(plugin, status="disabled", reason="another plugin is being examined")
    plugin = verdict(entry_point, plugin, examine_apart, anew=anew)
    if plugin.trace:
        _logger.debug("Plugin %s is faulty:\n%s", plugin.name, plugin.trace)
    return plugin


def _errors_must_raise() -> bool:
    value = os.environ.get("HALOCLINE_PLUGIN_ERRORS", "")
    if value not in ("", "raise"):
        raise UsageError(f"HALOCLINE_PLUGIN_ERRORS is {value!r}; unset it, or set it to 'raise'.")
    return value == "raise"


def _refuse_twice(plugin: Plugin, earlier: list[Plugin]) -> Plugin:
    """One distribution must not bring two things of one kind and name: no name could select them."""
    taken = {(c.kind, c.qualified_name) for other in earlier for c in other.components}
    for component in plugin.components:
        if (component.kind, component.qualified_name) in taken:
            reason = f"{plugin.distribution} brings the {component.kind} {component.name!r} twice"
            fix = f"Let the authors of {plugin.distribution} rename one."
            return replace(plugin, status="failed", reason=reason, fix=fix, components=())
        taken.add((component.kind, component.qualified_name))
    return plugin


def _kind(component: Component) -> Kind:
    if component.kind is None:
        raise PluginError(f"The component {component.name!r} was not found by discovery.")
    return component.kind


def _import_target(component: Component) -> tuple[Any, list[str]]:
    """Import what a component stands for; returns it with the names of what that changed in the process."""
    module_name, _, attribute = component.target.partition(":")
    # Ours prints nothing, and threads that do lose nothing to another stream.
    ours = component.distribution == BUILTIN
    streams = nullcontext() if ours else output_to_stderr()
    # What is imported already runs nothing, and another thread's changes would be taken for its own.
    kept = nullcontext(list[str]()) if ours and module_name in sys.modules else process_state_kept()
    try:
        with kept as changed, streams:
            target = operator.attrgetter(attribute)(importlib.import_module(module_name))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: importing a plugin must not end the program
        raise PluginError(
            f"The {component.kind} {component.qualified_name} cannot be loaded from {component.target}: "
            f"{type(error).__name__}: {error}. Reinstall or upgrade {component.distribution}."
        ) from error
    return target, changed
