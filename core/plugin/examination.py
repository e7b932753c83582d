"""Import one plugin and ask what it brings; whatever goes wrong becomes a reason and a fix."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType

import pluggy

from halocline import __version__
from halocline.plugin.entry_points import BUILTIN
from halocline.plugin.hooks import API_VERSION, KIND_OF_HOOK, PROJECT, Hooks
from halocline.plugin.process_state import process_state_kept
from halocline.plugin.report import Plugin
from halocline.plugin.spec import Component

_logger = logging.getLogger(__name__)


class _Fault(Exception):
    """A plugin cannot be used: the reason, and what to do about it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


def examine(entry_point: EntryPoint, plugin: Plugin) -> Plugin:
    """Import a plugin and ask what it brings.

    Args:
        entry_point: Where the plugin's module is.
        plugin: The report so far, which says where the entry point comes from.

    Returns:
        The completed report.
    """
    try:
        with process_state_kept() as changed:
            module = _import(entry_point, plugin)
            plugin = replace(plugin, api_version=_stated_api(module))
            _check_api(plugin)
            components = tuple(_components(_register(module), plugin))
    except _Fault as fault:
        _logger.debug("Plugin %s is faulty.", plugin.name, exc_info=True)
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


@contextmanager
def _everything_is_a_fault(doing: str, fix: str) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, _Fault):
        raise
    except BaseException as error:  # SystemExit, too: a plugin must not end the program
        text = " ".join(str(error).split())
        raise _Fault(f"{doing} failed: {type(error).__name__}{': ' if text else ''}{text}", fix) from error


def _import(entry_point: EntryPoint, plugin: Plugin) -> ModuleType:
    fix = f"Reinstall or upgrade {plugin.distribution}, or set HALOCLINE_DISABLE_PLUGINS={plugin.name}."
    with _everything_is_a_fault(f"importing {entry_point.value}", fix):
        module = entry_point.load()
        if not isinstance(module, ModuleType):
            raise _Fault(f"the entry point {entry_point.value!r} is no module", "Let it name a module.")
        return module


def _stated_api(module: ModuleType) -> int:
    version = vars(module).get("halocline_api")
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


def _register(module: ModuleType) -> list[pluggy.HookCaller]:
    """Let pluggy check the hooks of one plugin.

    Each plugin has a manager of its own: pluggy keeps a plugin half registered when a check fails.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    with _everything_is_a_fault("registering its hooks", "Correct them; they take no arguments."):
        manager.register(module)
    callers = manager.get_hookcallers(module) or []
    _check_names(module, {caller.name for caller in callers})
    return callers


def _check_names(module: ModuleType, implemented: set[str]) -> None:
    """Refuse hooks that nobody would ever call."""
    for name in sorted(implemented - KIND_OF_HOOK.keys()):
        near = difflib.get_close_matches(name, KIND_OF_HOOK, n=1) or [" or ".join(KIND_OF_HOOK)]
        raise _Fault(f"there is no hook {name}", f"Did you mean {near[0]}?")
    for name in sorted((KIND_OF_HOOK.keys() - implemented) & vars(module).keys()):
        raise _Fault(f"{name} is not marked as a hook", "Put @halocline.plugin.hookimpl above it.")
    if not implemented:
        raise _Fault("it implements no hook", "Implement at least one of " + ", ".join(KIND_OF_HOOK) + ".")


def _components(callers: list[pluggy.HookCaller], plugin: Plugin) -> Iterator[Component]:
    """Call the hooks, and stamp what they describe."""
    for caller in callers:
        for implementation in caller.get_hookimpls():
            for component in _described(implementation):
                kind = KIND_OF_HOOK[caller.name]
                yield replace(component, kind=kind, distribution=plugin.distribution)


def _described(implementation: pluggy.HookImpl) -> list[Component]:
    hook = implementation.function.__name__
    with _everything_is_a_fault(hook, "Correct that hook."):
        described = implementation.function()
        if isinstance(described, list) and all(isinstance(item, Component) for item in described):
            return described
        shown = repr(described)
        shown = shown if len(shown) <= 60 else shown[:60] + "…"
        raise _Fault(f"{hook} returned {shown}", "Let it return a list of halocline.plugin.Component.")
