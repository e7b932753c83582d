"""Import one plugin and ask what it brings; whatever goes wrong becomes a reason and a fix."""

from __future__ import annotations

import difflib
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pluggy

from halocline import __version__
from halocline.plugin.entry_points import BUILTIN, Plugin
from halocline.plugin.hooks import API_VERSION, KIND_OF_HOOK, MIGRATION, PROJECT, Component, Hooks
from halocline.plugin.process_state import output_to_stderr, process_state_kept

#: Seconds in which threads that an import has started may come to an end.
_PATIENCE = 1.0

#: Characters of a message that are shown; whoever wrote more has written a log.
_LONGEST = 500


class _Fault(Exception):
    """A plugin cannot be used: the reason, and what to do about it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


def examine(entry_point: EntryPoint, plugin: Plugin) -> Plugin:
    """Import a plugin into this process and ask what it brings; for others than our own see `apart`.

    Args:
        entry_point: Where the plugin's module is.
        plugin: The report so far, which says where the entry point comes from.

    Returns:
        The completed report.
    """
    try:
        with process_state_kept() as changed, output_to_stderr(), _no_thread_left(plugin):
            module = _import(entry_point, plugin)
            plugin = replace(plugin, api_version=_stated_api(module))
            _check_api(plugin)
            components = tuple(_components(_register(module), plugin))
    except _Fault as fault:
        trace = "".join(traceback.format_exception(fault))
        return replace(plugin, status="failed", reason=fault.reason, fix=fault.fix, trace=trace)
    plugin = replace(plugin, components=components)
    if not changed:
        return plugin
    reason = "importing it changes " + ", ".join(changed)
    return replace(plugin, status="warned", reason=reason, fix=_tell(plugin, "must leave the process as it is"))


def _tell(plugin: Plugin, duty: str) -> str:
    return f"Tell the authors of {plugin.distribution}: a plugin {duty}."


@contextmanager
def _no_thread_left(plugin: Plugin) -> Iterator[None]:
    """A thread that is no daemon would keep every program from ending that has used the plugin."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if not thread.daemon:
            thread.join(_PATIENCE)
            if thread.is_alive():
                reason = f"importing it starts the thread {thread.name!r}, which keeps programs from ending"
                raise _Fault(reason, _tell(plugin, "must start no threads when it is imported"))


@contextmanager
def _everything_is_a_fault(doing: str, fix: str) -> Iterator[None]:
    try:
        yield
    except _Fault:
        raise
    except BaseException as error:  # SystemExit and KeyboardInterrupt, too: a plugin must not end the program
        text = _words(error)
        raise _Fault(f"{doing} failed: {type(error).__name__}{': ' if text else ''}{text}", fix) from error


def _words(value: object, speak: Callable[[Any], str] = str) -> str:
    """What an object of a stranger's says, in one line that any stream can take."""
    try:
        words = " ".join(speak(value).split())
    except BaseException as error:
        words = f"(it cannot even say so: {type(error).__name__})"
    words = words if len(words) <= _LONGEST else words[:_LONGEST] + "…"
    return words.encode(errors="backslashreplace").decode()


def _import(entry_point: EntryPoint, plugin: Plugin) -> ModuleType:
    fix = f"Reinstall or upgrade {plugin.distribution}, or set HALOCLINE_DISABLE_PLUGINS={plugin.name}."
    with _everything_is_a_fault(f"importing {entry_point.value}", fix):
        module = entry_point.load()
        if not isinstance(module, ModuleType):
            raise _Fault(f"the entry point {entry_point.value!r} is no module", "Let it name a module.")
        return module


def _stated_api(module: ModuleType) -> int:
    version = vars(module).get("halocline_api")
    if type(version) is int:
        return version
    found = "states no halocline_api" if version is None else f"states halocline_api = {_words(version, repr)}"
    raise _Fault(f"{module.__name__} {found}", f"Put 'halocline_api = {API_VERSION}' into that module.")


def _check_api(plugin: Plugin) -> None:
    stated = plugin.api_version
    if stated is None or stated == API_VERSION:
        return
    older, newer = (BUILTIN, plugin.distribution) if stated > API_VERSION else (plugin.distribution, BUILTIN)
    authors = "" if older == BUILTIN else f" Its authors find what changed in {MIGRATION}."
    raise _Fault(
        f"it is written for plugin API {stated} and halocline {__version__} has plugin API {API_VERSION}; "
        f"{older} is the older one",
        f"Upgrade {older}, or install an older {newer}.{authors}",
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
        fix = "Let it return a list of halocline.plugin.Component."
        raise _Fault(f"{hook} returned {_words(described, repr)}", fix)
