"""Read the entry points of installed distributions, whatever state their metadata are in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

from halocline import __version__
from halocline.plugin.report import Plugin

GROUP = "halocline.plugins"
BUILTIN = "halocline"  # the distribution whose components keep their plain names

# Core brings its commands through the same hooks, but cannot be disabled and needs no metadata.
CORE = metadata.EntryPoint("core", "halocline.cli.commands", GROUP)

Found = tuple[metadata.EntryPoint | None, Plugin]


def entry_points() -> Iterator[Found]:
    """List what is installed: core, the rest of the box, strangers by name.

    Yields:
        An entry point with a report that says where it comes from; for a distribution whose metadata
        cannot be read, None and a report that says so.
    """
    yield CORE, Plugin(CORE.name, BUILTIN, __version__)
    yield from sorted(_installed(), key=lambda found: (found[1].distribution != BUILTIN, found[1].name))


def _installed() -> Iterator[Found]:
    seen: set[str] = set()
    for distribution in metadata.distributions():
        try:
            found = distribution.entry_points.select(group=GROUP)
            name, version = _identity(distribution) if found else ("", "")
        except Exception as error:  # anything may be in a damaged file
            yield None, _unreadable(distribution, error)
            continue
        if name not in seen:  # the first on the path hides others of its name, as for imports
            seen.add(name)
            yield from ((entry_point, Plugin(entry_point.name, name, version)) for entry_point in found)


def _identity(distribution: metadata.Distribution) -> tuple[str, str]:
    name = distribution.metadata["Name"] or "unknown"
    return re.sub(r"[-_.]+", "-", name).lower(), distribution.metadata["Version"] or ""


def _unreadable(distribution: metadata.Distribution, error: Exception) -> Plugin:
    folder = distribution.locate_file("")
    try:
        name, version = _identity(distribution)
    except Exception:
        name, version = "unknown", ""
    return Plugin(
        "?",
        name,
        version,
        status="failed",
        reason=f"its entry points in {folder} cannot be read ({type(error).__name__}: {error})",
        fix=f"Reinstall {name}.",
    )
