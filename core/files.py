"""Writing files so that a reader sees the old one or the new one, never half of either.

What is not complete lies in a temporary folder beside its place. Nobody can foresee its name or open it but the
user, so that no link can be waiting there. While its process lives it holds a lock on the folder; what a killed
process has left is removed by the next one that writes in the same place.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

#: Names of temporary folders end in so many random bytes, as hexadecimal digits.
_RANDOM_BYTES = 8


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace a file by way of a temporary one beside it; see `replacement`.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    with replacement(path, mode) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacement(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """A temporary file, empty, with the name of another; what is written there takes its place in the end.

    After an error the old file is as it was, and nothing is left beside it.

    Args:
        path: to be replaced. If it is a link, the link is; what it points to is not touched.
        mode: permissions of the new file, less those that the process withholds from all (its umask).

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    with temporary_folder(path.parent) as folder:
        temporary = folder / path.name
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        yield temporary
        if stat.S_IMODE(temporary.stat().st_mode) != mode:  # whoever wrote it has made another file
            temporary.chmod(mode)
        publish(temporary, path)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder for the time of the block, on the file system of its parent, which only the user can open.

    Raises:
        OSError: the parent cannot be written.
    """
    _reclaim(parent, os.getpid())
    while True:
        folder = parent / f"{_prefix()}{secrets.token_hex(_RANDOM_BYTES)}"
        folder.mkdir(mode=0o700)
        try:
            lock = _locked(folder)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process has taken it for left behind before it was locked
        if lock is None or _is_there(folder, lock):
            break
        os.close(lock)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def publish(temporary: Path, path: Path) -> None:
    """Give a complete file of the same file system its final name, once its bytes are on the disk.

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


def _prefix() -> str:
    """How names of temporary folders of this machine begin: on some file systems locks are known to one only."""
    return f".halocline-{zlib.crc32(platform.node().encode()):08x}-"


@functools.lru_cache(maxsize=64)
def _reclaim(parent: Path, process: int) -> None:
    """Remove what killed processes have left in a folder; once for each process, as folders may be large."""
    del process
    pattern = re.compile(rf"{re.escape(_prefix())}[0-9a-f]{{{2 * _RANDOM_BYTES}}}")
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _remove_if_left(parent / entry.name)


def _remove_if_left(folder: Path) -> None:
    """Remove a temporary folder of the user whose process is no more."""
    with contextlib.suppress(OSError):  # held, or gone
        lock = _locked(folder)
        if lock is not None:
            if os.fstat(lock).st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the lock on a folder; None if the file system has no locks.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder cannot be opened.
    """
    if sys.platform == "win32":
        return None
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise
    except OSError:
        os.close(lock)
        return None
    return lock


def _is_there(folder: Path, lock: int) -> bool:
    try:
        return os.path.samestat(folder.lstat(), os.fstat(lock))
    except FileNotFoundError:
        return False


def write_keeping_previous(path: Path, data: bytes) -> None:
    """Replace a file, and keep what it was under `previous_path`; at every moment one of the two is there, whole.

    Raises:
        OSError: the disk is full or the folder cannot be written; what was there is as it was.
    """
    with replacement(path) as temporary:
        temporary.write_bytes(data)
        if path.exists():
            _keep(path)


def _keep(path: Path) -> None:
    previous = previous_path(path)
    previous.unlink(missing_ok=True)
    try:
        previous.hardlink_to(path)
    except OSError:  # a file system without links
        path.replace(previous)


def previous_path(path: Path) -> Path:
    """The path under which the file before the newest one is kept."""
    return path.with_name(f"{path.stem}_prev{path.suffix}")


def newest(path: Path) -> Path | None:
    """The file, or the one before it if it is missing, as after a crash between two renames; None without both."""
    return next((each for each in (path, previous_path(path)) if each.exists()), None)
