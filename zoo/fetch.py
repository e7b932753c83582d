"""Put a pinned file onto this machine, once, however many processes ask for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from halocline.errors import ZooError
from halocline.files import publish
from halocline.zoo.cache import check_file, digest, has_size
from halocline.zoo.download import Progress, download, validator_path
from halocline.zoo.entry import Pinned
from halocline.zoo.mirror import mirrored
from halocline.zoo.source import Local, Remote


def fetch(pinned: Pinned, source: Local | Remote, target: Path, progress: Progress) -> Path:
    """Fetch a file.

    It gets its final name only after size and digest were checked, so that whoever finds that name may use it. An
    interrupted transfer leaves a partial file, from which the next one goes on.

    Args:
        pinned: what it must be.
        source: where it comes from, unless there is a mirror.
        target: its final name.
        progress: told of every piece.

    Raises:
        ZooError: offline, the source cannot be read, what it holds is not the pinned file, or the folder cannot
            be written.
    """
    source = mirrored(source)
    if isinstance(source, Remote) and is_offline():
        raise ZooError(
            f"{pinned.name} is not on this machine, and HALOCLINE_OFFLINE is set. Fetch it elsewhere from "
            f"{source.url}, then: halocline zoo pull {pinned.name} --from PATH"
        )
    with locked(target, pinned.name, pinned.size):
        if not (has_size(target, pinned.size) and digest(target) == pinned.sha256):
            _fetch_locked(pinned, source, target, progress)
    return target


@contextmanager
def locked(target: Path, name: str, size: int) -> Iterator[None]:
    """Store something while no other process does.

    Args:
        target: the final name of it.
        name: of the model, for messages.
        size: of it, bytes, for messages.

    Raises:
        ZooError: the folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            yield
    except OSError as error:
        raise ZooError(
            f"Cannot store {name} ({size} bytes) in {target.parent}: {error.strerror or error}. "
            "HALOCLINE_CACHE_DIR names another folder."
        ) from error


def is_offline() -> bool:
    """Whether the user forbade the network."""
    return os.environ.get("HALOCLINE_OFFLINE", "") not in ("", "0")


def _fetch_locked(pinned: Pinned, source: Local | Remote, target: Path, progress: Progress) -> None:
    part = target.with_suffix(".part")
    if isinstance(source, Local):
        check_file(pinned, source.path)
        shutil.copyfile(source.path, part)
        progress(pinned.size)
    else:
        download(pinned, source.url, part, progress)
    _publish(pinned, part, target)


def _publish(pinned: Pinned, part: Path, target: Path) -> None:
    """Give a complete file its final name, on disk and checked."""
    validator_path(part).unlink(missing_ok=True)
    try:
        check_file(pinned, part)
    except ZooError as error:
        part.unlink()
        raise ZooError(f"What was fetched for {pinned.name} was thrown away: {error}") from error
    publish(part, target)
