"""The file of comparisons: what was measured on, and every comparison, written anew after each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

from halocline.files import write_atomically
from peers.threads import Roofs, gains

#: What tells one comparison from another.
KEY: Final = ("model", "structure", "asked", "threads", "device")

Key = tuple[Any, ...]


@final
class Record:
    """Comparisons that are done.

    Args:
        path: of the file. What it holds of other sources, versions or another machine is left aside, and replaced.
        measured: machine, versions and sources.
        left_out: peers that nobody could be compared with, and why.

    Attributes:
        roofs: of the machine when the file began.
    """

    def __init__(self, path: Path, measured: Mapping[str, Any], left_out: Mapping[str, str]) -> None:
        self._path, self._measured, self._left_out = path, dict(measured), dict(left_out)
        self.comparisons: dict[Key, dict[str, Any]] = {}
        self.roofs: Roofs = {}
        if path.exists():
            old = json.loads(path.read_text())
            if old["measured"] == self._measured:
                self.comparisons = {key_of(each): each for each in old["comparisons"]}
                self.roofs = old["roofs"]

    def has(self, key: Key, contenders: set[str]) -> bool:
        """Whether a comparison of all these is done, and nobody failed."""
        found = self.comparisons.get(key, {"contenders": {}})["contenders"]
        return contenders <= set(found) and not any("failure" in each for each in found.values())

    def add(self, comparison: dict[str, Any]) -> None:
        """Enter a comparison, and write the file."""
        self.comparisons[key_of(comparison)] = comparison
        document = {
            "measured": self._measured,
            "left_out": self._left_out,
            "roofs": self.roofs,
            "gains_by_threads": list(gains(self.comparisons.values(), self.roofs)),
            "comparisons": list(self.comparisons.values()),
        }
        write_atomically(self._path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def key_of(comparison: Mapping[str, Any]) -> Key:
    """Model, structure, atoms that were asked for, threads and device."""
    return tuple(comparison[name] for name in KEY)
