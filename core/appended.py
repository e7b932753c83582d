"""Files that grow by whole records, and can be gone on with after any end.

Whoever goes on cuts them back to a length that was noted down, after comparing their SHA-256 up to there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, final

from halocline.errors import HaloclineError

_BLOCK = 1 << 20


def mark_of(data: bytes) -> dict[str, Any]:
    """Length and SHA-256 of what a file holds."""
    return {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}


#: The mark of a file that is still to be written.
EMPTY = mark_of(b"")


@final
class AppendedFile:
    """A file that grows by whole records: a record that does not fit on the disk is taken back.

    Args:
        path: where it lies.
        mark: length and SHA-256 to go on from, as `mark` returned them; `EMPTY` for a new file.
        error_class: of the errors that are raised.

    Raises:
        HaloclineError: the file is shorter than the mark says, has changed, or cannot be written.
    """

    def __init__(
        self, path: Path, mark: Mapping[str, Any], *, error_class: type[HaloclineError] = HaloclineError
    ) -> None:
        self._path, self._error_class = path, error_class
        self._digest = hashlib.sha256()
        self._length = 0
        with self._reported():
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
            self._cut_back(mark)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, record: bytes) -> None:
        """Write one whole record, or nothing of it.

        Raises:
            HaloclineError: the disk is full or the file cannot be written.
        """
        try:
            self._write(record)
        except BaseException:  # an interruption, too
            with self._reported():
                os.ftruncate(self._file.fileno(), self._length)
                raise
        self._digest.update(record)
        self._length += len(record)

    def sync(self) -> None:
        """Bring everything to the disk, where a power cut leaves it."""
        with self._reported():
            os.fsync(self._file.fileno())

    def mark(self) -> dict[str, Any]:
        """The length and SHA-256 of what was written."""
        return {"length": self._length, "sha256": self._digest.hexdigest()}

    def _write(self, record: bytes) -> None:
        written = self._file.write(record) or 0
        while written < len(record):
            written += self._file.write(memoryview(record)[written:]) or 0

    def _cut_back(self, mark: Mapping[str, Any]) -> None:
        for block in _blocks(self._file, mark["length"]):
            self._digest.update(block)
            self._length += len(block)
        if self._length != mark["length"] or self._digest.hexdigest() != mark["sha256"]:
            self._file.close()
            raise self._error_class(
                f"{self._path} is not the file that the checkpoint belongs to: its first {mark['length']} bytes "
                "were changed or are missing. Restore it, or start anew with --overwrite."
            )
        self._file.truncate(self._length)
        self._file.seek(self._length)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise self._error_class(
                f"Cannot write {self._path}: {reason}. What it holds so far is whole."
            ) from error


def last_intact(path: Path, marks: Sequence[Mapping[str, Any]]) -> int | None:
    """The place of the last of several marks, in the order of their lengths, up to which a file is what it was.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    length, found = 0, None
    with path.open("rb") as file:
        for place, mark in enumerate(marks):
            for block in _blocks(file, mark["length"] - length):
                digest.update(block)
                length += len(block)
            if length == mark["length"] and digest.hexdigest() == mark["sha256"]:
                found = place
    return found


def _blocks(file: IO[bytes], length: int) -> Iterator[bytes]:
    """So many of the bytes that come next, or all there are."""
    while length > 0 and (block := file.read(min(length, _BLOCK))):
        length -= len(block)
        yield block
