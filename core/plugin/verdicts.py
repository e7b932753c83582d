"""Verdicts on plugins, kept for as long as everything that they depend on is the same."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from halocline import __version__
from halocline.plugin.entry_points import Plugin
from halocline.plugin.hooks import API_VERSION
from halocline.plugin.source import source_digest

_logger = logging.getLogger(__name__)

#: Those found in this process, by file and key: nothing is examined twice in one, even if nothing can be kept.
_found: dict[tuple[Path | None, str], Plugin] = {}


def verdict(
    entry_point: EntryPoint, plugin: Plugin, examine: Callable[[EntryPoint, Plugin], Plugin], *, anew: bool
) -> Plugin:
    """The verdict on a plugin: the one that is kept, or a new one.

    Verdicts lie in the cache folder, one file for each entry point and installation of Python. Where that folder
    cannot be written, or is not ours alone to write, nothing is kept.

    Args:
        entry_point: Where the plugin's module is.
        plugin: The report so far, which says where the entry point comes from.
        examine: Finds the verdict.
        anew: Rely on no kept verdict that is bad: its cause may lie outside of what the key knows of.
    """
    path, key = _place(plugin), _key(entry_point, plugin)
    if (path, key) in _found:
        return _found[path, key]
    kept = _read(path, key) if path else None
    if kept is not None and not (anew and kept.is_faulty):
        return kept
    _found[path, key] = examine(entry_point, plugin)
    if path:
        _write(path, key, _found[path, key])
    return _found[path, key]


def _place(plugin: Plugin) -> Path | None:
    from halocline.cache import find_cache  # not needed, and not imported, while there are no strangers

    who = _digest([sys.prefix, plugin.distribution, plugin.entry_point])
    folder = find_cache()
    return folder / "plugins" / f"{who}.json" if folder else None


def _key(entry_point: EntryPoint, plugin: Plugin) -> str:
    """The plugin as it is installed, and whatever it may have looked for when it was imported."""
    installed = entry_point.dist.read_text("RECORD") if entry_point.dist else None
    return _digest(
        [
            plugin.name,
            plugin.version,
            entry_point.value,
            installed,
            source_digest(entry_point.value.partition(":")[0].strip()),
            [__version__, API_VERSION, sys.version],
            [[folder, _changed(folder)] for folder in sys.path if _holds_distributions(folder)],
        ]
    )


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _holds_distributions(folder: str) -> bool:
    """Whether installing or removing something there changes the folder."""
    return bool(folder) and any(Path(folder).glob("*.dist-info"))


def _changed(folder: str) -> int:
    return Path(folder).stat().st_mtime_ns


def _read(path: Path, key: str) -> Plugin | None:
    """The verdict that is kept under a key; None if there is none, or none that can be relied on."""
    try:
        kept = json.loads(_own_bytes(path))
        return Plugin.from_json(kept["verdict"]) if kept["key"] == key else None
    except FileNotFoundError:
        return None
    except Exception as error:  # it is damaged, and made again
        _logger.debug("The verdict %s cannot be read: %s", path, error)
        return None


def _write(path: Path, key: str, plugin: Plugin) -> None:
    from halocline.cache import own_cache
    from halocline.files import write_atomically

    try:
        own_cache(path.parent.name)
        write_atomically(path, json.dumps({"key": key, "verdict": plugin.to_json()}, indent=1).encode(), 0o600)
    except OSError as error:  # it is found anew at the next call, which takes a moment longer
        _logger.debug("The verdict on %s cannot be kept: %s", plugin.name, error)


def _own_bytes(path: Path) -> bytes:
    """What is in a file, if nobody else can have written it: a verdict names modules that are imported."""
    from halocline.cache import cache_folder
    from halocline.ownership import read_own, require_own

    for folder in (cache_folder(), path.parent):
        require_own(folder, folder.stat())
    return read_own(path)
