"""The file of a run: what was measured on, and each stage with its records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from halocline.files import write_atomically

#: One thing that was found; ``ok`` is false where it is wrong, ``skipped`` says why it was not looked for.
Record = dict[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage found.

    Attributes:
        records: one after another.
        warnings: of libraries, each once.
        failure: why it ended early; empty if it did not.
        seconds: that it took.
    """

    records: list[Record]
    warnings: list[str]
    failure: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it ended, and all that it found was right."""
        return not self.failure and not self.wrong

    @property
    def wrong(self) -> list[Record]:
        """What was not right."""
        return [record for record in self.records if not record.get("ok", True)]

    def summary(self, name: str) -> str:
        """A line, and one for each thing that was wrong."""
        skipped = sum("skipped" in record for record in self.records)
        counts = f"{len(self.records)} records, {skipped} skipped, {len(self.wrong)} wrong"
        lines = [f"{name}: {counts}, {self.seconds:.1f} s. {self.failure}".rstrip()]
        return "\n".join(lines + [f"  {json.dumps(record)}" for record in self.wrong[:20]])


@final
class Report:
    """All stages; the file is written anew after each.

    Args:
        path: of the file, which is replaced.
        measured: machine, versions and sources.
    """

    def __init__(self, path: Path, measured: Mapping[str, Any]) -> None:
        self._path, self._measured = path, dict(measured)
        self.stages: dict[str, Stage] = {}

    @property
    def good(self) -> bool:
        """Whether all stages are."""
        return all(stage.good for stage in self.stages.values())

    def enter(self, name: str, stage: Stage) -> None:
        """Enter a stage that has ended."""
        self.stages[name] = stage
        document = {
            "measured": self._measured,
            "good": self.good,
            "stages": {name: {"good": each.good} | asdict(each) for name, each in self.stages.items()},
        }
        write_atomically(self._path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
