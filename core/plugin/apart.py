"""Examine a plugin in a process of its own, whatever it does there: crash, hang, leave, print or change things."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

from halocline.plugin.entry_points import Plugin
from halocline.plugin.examination import examine

#: Seconds after which a plugin counts as hanging; a light one takes a fiftieth of one.
PATIENCE = 10.0

#: Set where a plugin is examined, and in all that it starts there: nobody examines plugins from within.
WITHIN = "HALOCLINE_WITHIN_EXAMINATION"

#: What a plugin may take, in bytes: of each file that it writes, of memory, and for a picture of its crash.
_LIMITS = {"RLIMIT_FSIZE": 2**26, "RLIMIT_DATA": 2**33, "RLIMIT_CORE": 0}


def examine_apart(entry_point: EntryPoint, plugin: Plugin, seconds: float | None = None) -> Plugin:
    """Like `examine`, but nothing that the plugin does reaches this process, and it cannot hang.

    Args:
        entry_point: Where the plugin's module is.
        plugin: The report so far, which says where the entry point comes from.
        seconds: After which it counts as hanging; `PATIENCE` by default.
    """
    from halocline.isolation import call  # not needed, and not imported, while all verdicts are known

    question = {
        "entry_point": [entry_point.name, entry_point.value, entry_point.group],
        "plugin": plugin.to_json(),
        "path": sys.path,
    }
    try:
        outcome = call(f"{__name__}:answer", question, PATIENCE if seconds is None else seconds)
    except OSError as error:
        return _failed(plugin, f"no process could be started to examine it ({error})", "")
    if outcome.values:
        try:
            return Plugin.from_json(outcome.values[0])
        except Exception:  # it has written into our answer
            return _failed(plugin, "it disturbs its examination", _fix(plugin))
    ending = outcome.failure.rstrip(".") or "It ended the process without a word"
    return _failed(plugin, f"in a process of its own {ending[:1].lower()}{ending[1:]}", _fix(plugin))


def _failed(plugin: Plugin, reason: str, fix: str) -> Plugin:
    return replace(plugin, status="failed", reason=reason, fix=fix)


def _fix(plugin: Plugin) -> str:
    return (
        f"Importing it must do nothing but describe what it brings: upgrade {plugin.distribution}, tell its "
        f"authors, or set HALOCLINE_DISABLE_PLUGINS={plugin.name}."
    )


def answer(question: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Examine a plugin, in a process of its own.

    Yields:
        The report. The process ends with that, whatever threads and functions for its end a plugin has left.
    """
    os.environ[WITHIN] = "1"
    sys.path[:] = question["path"]
    importlib.invalidate_caches()
    _limit()
    plugin = Plugin.from_json(question["plugin"])
    yield examine(EntryPoint(*question["entry_point"]), plugin).to_json()
    os._exit(0)


def _limit() -> None:
    with suppress(ImportError):  # not known on every system
        import resource

        for name, most in _LIMITS.items():
            with suppress(AttributeError, ValueError, OSError):
                number = getattr(resource, name)
                _, hard = resource.getrlimit(number)
                resource.setrlimit(number, (most if hard < 0 else min(most, hard), hard))
