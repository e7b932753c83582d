"""Locks between processes that do not wait in silence, or for ever."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

_logger = logging.getLogger(__name__)

#: Seconds after which is said what is waited for.
SILENCE: Final = 3.0

#: Seconds after which waiting ends. Whoever holds a lock compiles a program or fetches a model; minutes are usual.
PATIENCE: Final = 1800.0


@contextmanager
def locked(path: Path, work: str) -> Iterator[None]:
    """Hold a lock for the time of the block, waiting for another process that has it.

    Args:
        path: of the lock file, in a folder that exists.
        work: what is done under this lock, such as "compiles the program of 'schnet'".

    Raises:
        OSError: the file cannot be written, or another process has kept the lock for too long.
    """
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=SILENCE)
    except Timeout:
        _logger.warning("Waiting for %s, which %s; the lock is %s.", _holder(path), work, path)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"{_holder(path)} {work}, or seems to, and has held {path} for {PATIENCE / 60:g} minutes; "
                "end it if it hangs",
            ) from None
    try:
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    """Who holds a lock, as far as the system tells."""
    try:
        held = str(path.stat().st_ino)
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            # 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
            fields = line.split()
            if "->" not in fields and fields[5].rpartition(":")[2] == held and int(fields[4]) > 0:
                return f"process {fields[4]}{_stopped(fields[4])}"
    except (OSError, ValueError, IndexError):  # a system without this file, or another machine's process
        pass
    return "another process"


def _stopped(process: str) -> str:
    status = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    return " (stopped)" if status.rpartition(")")[2].split()[0] in ("T", "t") else ""
