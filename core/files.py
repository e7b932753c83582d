"""Writing files so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by way of a temporary one beside it.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    with replacement(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A temporary name beside a file, with the same ending; what is written there takes its place in the end.

    After an error the old file is as it was, and nothing is left beside it.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        publish(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish(temporary: Path, path: Path) -> None:
    """Give a complete file of the same folder its final name, once its bytes are on the disk.

    Raises:
        OSError: the disk failed.
    """
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names that were just given in a folder outlast a power cut, where the system can.

    Raises:
        OSError: the disk failed.
    """
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # said by file systems that know no such thing for folders
            raise
    finally:
        os.close(handle)
