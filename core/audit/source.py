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
        file_format: of all files, if they do not tell.
        numbers: of the frames that are taken from each file; None for all.
    """

    files: Sequence[str]
    file_format: str | None = None
    numbers: frozenset[int] | None = None

    def frames(self) -> Iterator[Frame]:
        """Read the frames as they are needed.

        Yields:
            Frames, those that cannot be read included.

        Raises:
            StructureError: a file has fewer frames than are named; after all that it has.
        """
        if self.numbers is None:
            yield from read_all(self.files, self.file_format)
            return
        for file in self.files:
            frame = None
            for frame in read_all([file], self.file_format):
                if frame.number in self.numbers:
                    yield frame
            there, last = 0 if frame is None else frame.number + 1, max(self.numbers)
            if last >= there:
                raise StructureError(f"{file} has {there} frames, so there is no frame {last} to take, from 0.")

    def identity(self) -> dict[str, Any]:
        """What the frames follow from, as JSON values."""
        chosen = None
        if self.numbers is not None:
            chosen = hashlib.sha256(np.array(sorted(self.numbers), np.int64).tobytes()).hexdigest()
        return {"data": list(file_digests(self.files).values()), "format": self.file_format, "chosen": chosen}
