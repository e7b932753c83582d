"""A file of results that grows batch by batch, and is whole and can be gone on with after any end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

from filelock import FileLock, Timeout

from halocline.appended import EMPTY, AppendedFile, mark_of
from halocline.errors import OutputError, UsageError
from halocline.evaluation.forms import Store, form_of
from halocline.evaluation.frames import EvaluatedFrame, Frame
from halocline.evaluation.journal import (
    Entry,
    InputDigest,
    check_input,
    header,
    journal_path,
    read_journal,
)
from halocline.files import write_atomically

#: Results are written once there are so many, or this long after those before; either is lost at most.
BATCH: Final = 64
PATIENCE: Final = 0.5
#: Seconds after which what was written is brought to the disk, too, where a power cut leaves it.
SYNC_INTERVAL: Final = 5.0


@final
class ResultFile:
    """Writes results as they come. What a killed process has written is whole but for a last batch.

    Nothing is made or replaced before there is a result to be written. While the block lasts no other process
    writes the same file.

    Args:
        path: its ending says in which form, see `halocline.evaluation.forms`.
        identity: what the numbers follow from besides the structures, by name, as JSON values.
        resume: go on with the file, if it is there.
        overwrite: replace it.
        committee: whether the model is one, and its spread is told.

    Raises:
        OutputError: another process writes it, it cannot be written, or it does not belong to what goes on.
        UsageError: it is there and may not be replaced, or its name promises no form.

    Attributes:
        path: of the file.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        committee: bool = False,
    ) -> None:
        check_results(path, resume=resume, overwrite=overwrite)
        self.path, self._form = path, form_of(path, committee=committee)
        self._identity, self._resume = identity, resume
        self._digest = InputDigest()
        self._frames = self._failed = 0
        self._entries: list[Entry] = []
        # With their frames, so that an interruption anywhere finds both or neither.
        self._waiting: list[tuple[Frame, Any]] = []
        self._files: tuple[Store, AppendedFile] | None = None
        self._written = self._synced = time.monotonic()
        self._writing = False
        self._stack = ExitStack()

    @property
    def kept(self) -> int:
        """Frames that earlier calls have dealt with."""
        return self._entries[-1].frames if self._entries else 0

    @property
    def failed(self) -> int:
        """Frames without a result so far, those of earlier calls included."""
        return self._failed

    def __enter__(self) -> Self:
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            lock.acquire(timeout=0)
            self._stack.callback(lock.release)
            if self._resume and self.path.exists() and self.path.stat().st_size:
                self._entries = read_journal(self.path, self._form, self._identity)
        except Timeout as error:
            raise OutputError(f"Another process is writing {self.path}; let it end.") from error
        except OSError as error:
            self._stack.close()
            raise OutputError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if not self._writing:  # else that has failed or was interrupted, and who resumes will find out where
                self._write(sync=True)

    def rest(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames that are left, once those of earlier calls were compared.

        Raises:
            OutputError: they are not those that the results were made from.
        """
        for entry in self._entries:
            while self._frames < entry.frames and (frame := next(frames, None)) is not None:
                self._digest.add(frame)
                self._frames += 1
            check_input(self.path, entry, self._digest)
            self._failed = entry.failed
        if self._entries:
            self._open()
        return frames

    def add(self, evaluated: EvaluatedFrame, numbers: Mapping[str, Any] | None) -> None:
        """Take the numbers of one more frame, in their order; None if there are none.

        Raises:
            OutputError: the disk is full or the file cannot be written.
        """
        record = None if numbers is None else self._form.record(evaluated.frame, numbers)
        self._waiting.append((evaluated.frame, record))
        now = time.monotonic()
        if len(self._waiting) >= BATCH or now - self._written > PATIENCE:
            self._write(sync=now - self._synced > SYNC_INTERVAL)

    def _write(self, *, sync: bool) -> None:
        """Write what waits, and note down how far that is."""
        self._writing = True
        for frame, record in self._waiting:
            self._digest.add(frame)
            self._frames += 1
            self._failed += record is None
        records = [record for _, record in self._waiting if record is not None]
        if self._waiting and (records or self._files is not None):
            results, journal = self._files or self._open()
            results.append(records)
            journal.append(Entry(self._frames, self._failed, str(self._digest), results.mark()).line())
        self._waiting.clear()
        if sync and self._files is not None:
            for file in self._files:
                file.sync()
            self._synced = time.monotonic()
        self._written = time.monotonic()
        self._writing = False

    def _open(self) -> tuple[Store, AppendedFile]:
        """Results, cut back to where to go on, and a journal that says how they came there."""
        mark = self._entries[-1].results if self._entries else EMPTY
        results = self._stack.enter_context(self._form.open(self.path, mark))
        path = journal_path(self.path)
        lines = b"".join((header(self._identity), *(entry.line() for entry in self._entries)))
        try:
            write_atomically(path, lines)
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
        journal = self._stack.enter_context(AppendedFile(path, mark_of(lines), error_class=OutputError))
        self._files = results, journal
        return self._files


def check_results(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Find out before any work that results cannot be written to a file.

    Raises:
        UsageError: it is there and may not be replaced, or its name or folder is no good.
    """
    form_of(path)
    if path.exists() and not path.is_file():
        raise UsageError(f"--output {path} is no regular file; choose another name.")
    if path.exists() and not (resume or overwrite):
        raise UsageError(
            f"{path} exists: go on with it with --resume, replace it with --overwrite, or choose another --output."
        )
