"""Where frames of an audit come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from halocline.errors import StructureError
from halocline.evaluation.frames import Frame, file_digests, read_all


@final
@dataclass(frozen=True, slots=True)
class Source:
    """Frames of files.

    Attributes:
        files: that hold them.
        file_format: of all these files, if they do not tell.
        numbers: of the frames that are taken from each of them; None for all.
        runs: files that dynamics have left, which come after the others.
    """

    files: Sequence[str]
    file_format: str | None = None
    numbers: frozenset[int] | None = None
    runs: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """All files, in their order."""
        return [*self.files, *self.runs]

    def frames(self) -> Iterator[Frame]:
        """Read the frames as they are needed.

        Yields:
            Frames, those that cannot be read included.

        Raises:
            StructureError: a file has fewer frames than are named; after all that it has.
        """
        if self.numbers is None:
            yield from read_all(self.files, self.file_format)
        else:
            for file in self.files:
                yield from self._chosen(file, self.numbers)
        yield from read_all(self.runs)

    def _chosen(self, file: str, numbers: frozenset[int]) -> Iterator[Frame]:
        there = 0
        for frame in read_all([file], self.file_format):
            there = frame.number + 1
            if frame.number in numbers:
                yield frame
        if max(numbers) >= there:
            raise StructureError(
                f"{file} has {there} frames, so there is no frame {max(numbers)}, counted from 0."
            )

    def identity(self) -> dict[str, Any]:
        """What the frames follow from, as JSON values."""
        chosen = None
        if self.numbers is not None:
            chosen = hashlib.sha256(np.array(sorted(self.numbers), np.int64).tobytes()).hexdigest()
        return {"data": list(file_digests(self.names).values()), "format": self.file_format, "chosen": chosen}
