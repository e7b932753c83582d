"""The entry points of installed distributions, whatever state their metadata are in, and what became of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal, Self

from halocline import __version__
from halocline.plugin.hooks import Component

#: ``warned``: usable, but its import changes the process; ``failed``: nothing of it is used.
Status = Literal["ok", "warned", "failed", "disabled"]

GROUP = "halocline.plugins"
BUILTIN = "halocline"  # the distribution whose components keep their plain names

# Core brings its commands through the same hooks, but cannot be disabled and needs no metadata.
CORE = metadata.EntryPoint("core", "halocline.cli.commands", GROUP)


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point of the group ``halocline.plugins``, and what became of it.

    Attributes:
        entry_point: Its name in the distribution's metadata.
        distribution: Normalised name of the distribution it came in.
        version: Version of that distribution.
        api_version: What the module states as ``halocline_api``; None if that could not be read.
        status: What became of it.
        reason: Why the status is not ``ok``; empty otherwise.
        fix: What the user can do about it; empty if nothing need be done.
        components: What it brings; empty unless it is usable.
        trace: Where it went wrong, for its authors; empty unless it raised an error.
    """

    entry_point: str
    distribution: str
    version: str
    api_version: int | None = None
    status: Status = "ok"
    reason: str = ""
    fix: str = ""
    components: tuple[Component, ...] = ()
    trace: str = ""

    @property
    def name(self) -> str:
        """``distribution:entry_point``; two distributions may use one entry-point name."""
        return f"{self.distribution}:{self.entry_point}"

    @property
    def is_faulty(self) -> bool:
        """Whether its authors have something to mend."""
        return self.status in ("failed", "warned")

    def to_json(self) -> dict[str, Any]:
        """Itself as JSON can say it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make it again from what `to_json` gave.

        Raises:
            PluginError: a component is malformed.
            TypeError: something else is.
        """
        return cls(**values | {"components": tuple(Component(**each) for each in values["components"])})


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
