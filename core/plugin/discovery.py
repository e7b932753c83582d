"""Find plugins one by one: a broken one is reported and hurts nobody else."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from importlib.metadata import EntryPoint

from halocline.errors import PluginError, UsageError
from halocline.plugin.apart import WITHIN, examine_apart
from halocline.plugin.entry_points import BUILTIN, CORE, Plugin, entry_points
from halocline.plugin.examination import examine
from halocline.plugin.verdicts import verdict

_logger = logging.getLogger(__name__)


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
