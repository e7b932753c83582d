"""Find plugins one by one: a broken one is reported and hurts nobody else."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType

import pluggy

from halocline import __version__
from halocline.errors import PluginError, UsageError
from halocline.plugin.entry_points import BUILTIN, CORE, entry_points
from halocline.plugin.hooks import API_VERSION, KIND_OF_HOOK, PROJECT, Hooks
from halocline.plugin.process_state import process_state_kept
from halocline.plugin.report import Plugin
from halocline.plugin.spec import Component


class _Fault(Exception):
    """A plugin cannot be used: the reason, and what to do about it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


def discover() -> tuple[Plugin, ...]:
    """Read every entry point of the group, built-in ones first.

    Returns:
        One report per entry point, usable or not.

    Raises:
        PluginError: A plugin is broken and ``HALOCLINE_PLUGIN_ERRORS=raise`` asks for an error.
        UsageError: ``HALOCLINE_PLUGIN_ERRORS`` has an unknown value.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    disabled = {name.strip() for name in os.environ.get("HALOCLINE_DISABLE_PLUGINS", "").split(",")}
    must_raise = _errors_must_raise()
    plugins: list[Plugin] = []
    for entry_point, plugin in entry_points():
        if entry_point is not CORE and disabled & {plugin.entry_point, plugin.distribution, plugin.name}:
            plugin = replace(plugin, status="disabled", reason="named in HALOCLINE_DISABLE_PLUGINS")
        elif entry_point is not None:
            plugin = _refuse_twice(_examine(manager, entry_point, plugin), plugins)
        if must_raise and plugin.status in ("failed", "warned"):
            raise PluginError(f"Plugin {plugin.name}: {plugin.reason}. {plugin.fix}")
        plugins.append(plugin)
    return tuple(plugins)


def _errors_must_raise() -> bool:
    value = os.environ.get("HALOCLINE_PLUGIN_ERRORS", "")
    if value not in ("", "raise"):
        raise UsageError(f"HALOCLINE_PLUGIN_ERRORS is {value!r}; unset it, or set it to 'raise'.")
    return value == "raise"


def _examine(manager: pluggy.PluginManager, entry_point: EntryPoint, plugin: Plugin) -> Plugin:
    """Import one plugin and ask what it brings."""
    try:
        with process_state_kept() as changed:
            module = _import(entry_point, plugin)
            plugin = replace(plugin, api_version=_stated_api(module))
            _check_api(plugin)
            _register(manager, module, plugin)
            components = tuple(_components(manager, module, plugin))
    except _Fault as fault:
        return replace(plugin, status="failed", reason=fault.reason, fix=fault.fix)
    plugin = replace(plugin, components=components)
    if not changed:
        return plugin
    return replace(
        plugin,
        status="warned",
        reason="importing it changed " + ", ".join(changed) + "; that was put back",
        fix=f"Tell the authors of {plugin.distribution}: a plugin must leave the process as it is.",
    )


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


def _import(entry_point: EntryPoint, plugin: Plugin) -> ModuleType:
    fix = f"Reinstall or upgrade {plugin.distribution}, or set HALOCLINE_DISABLE_PLUGINS={plugin.name}."
    try:
        module = entry_point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: importing a plugin must not end the program
        raise _Fault(f"importing {entry_point.value} failed: {_one_line(error)}", fix) from error
    if not isinstance(module, ModuleType):
        raise _Fault(f"the entry point {entry_point.value!r} is no module", "Let it name a module.")
    return module


def _stated_api(module: ModuleType) -> int:
    version = getattr(module, "halocline_api", None)
    if isinstance(version, int):
        return version
    found = "states no halocline_api" if version is None else f"states halocline_api = {version!r}"
    raise _Fault(f"{module.__name__} {found}", f"Put 'halocline_api = {API_VERSION}' into that module.")


def _check_api(plugin: Plugin) -> None:
    stated = plugin.api_version
    if stated is None or stated == API_VERSION:
        return
    older, newer = (BUILTIN, plugin.distribution) if stated > API_VERSION else (plugin.distribution, BUILTIN)
    raise _Fault(
        f"it is written for plugin API {stated} and halocline {__version__} has plugin API {API_VERSION}; "
        f"{older} is the older one",
        f"Upgrade {older}, or install an older {newer}.",
    )


def _register(manager: pluggy.PluginManager, module: ModuleType, plugin: Plugin) -> None:
    try:
        manager.register(module, name=plugin.name)
        _check_hooks(manager, module)
    except (_Fault, pluggy.PluginValidationError, ValueError) as error:
        # pluggy keeps what it had registered before it noticed.
        if manager.has_plugin(plugin.name):
            manager.unregister(name=plugin.name)
        if isinstance(error, _Fault):
            raise
        raise _Fault(_one_line(error), "Correct the hook implementations in that module.") from error


def _check_hooks(manager: pluggy.PluginManager, module: ModuleType) -> None:
    """Refuse hooks that nobody would ever call."""
    implemented = {caller.name for caller in manager.get_hookcallers(module) or ()}
    for name in sorted(implemented - KIND_OF_HOOK.keys()):
        near = difflib.get_close_matches(name, KIND_OF_HOOK, n=1) or [" or ".join(KIND_OF_HOOK)]
        raise _Fault(f"there is no hook {name}", f"Did you mean {near[0]}?")
    for name in sorted(KIND_OF_HOOK.keys() - implemented):
        if hasattr(module, name):
            raise _Fault(f"{name} is not marked as a hook", "Put @halocline.plugin.hookimpl above it.")
    if not implemented:
        raise _Fault("it implements no hook", "Implement at least one of " + ", ".join(KIND_OF_HOOK) + ".")


def _components(manager: pluggy.PluginManager, module: ModuleType, plugin: Plugin) -> Iterator[Component]:
    for hook, kind in KIND_OF_HOOK.items():
        caller: pluggy.HookCaller = getattr(manager.hook, hook)
        for implementation in caller.get_hookimpls():
            if implementation.plugin is not module:
                continue
            for component in _described(hook, implementation):
                yield replace(component, kind=kind, distribution=plugin.distribution)


def _described(hook: str, implementation: pluggy.HookImpl) -> list[Component]:
    try:
        described = implementation.function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as for the import
        raise _Fault(f"{hook} failed: {_one_line(error)}", "Correct that hook.") from error
    if not isinstance(described, list) or not all(isinstance(c, Component) for c in described):
        shown = repr(described)
        shown = shown if len(shown) <= 60 else shown[:60] + "…"
        raise _Fault(f"{hook} returned {shown}", "Let it return a list of halocline.plugin.Component.")
    return described


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
