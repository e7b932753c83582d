"""Put a model into the cache, once, however many processes ask for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from filelock import FileLock

from halocline.errors import ZooError
from halocline.files import publish
from halocline.zoo.cache import cached_path, check_file, digest, has_size
from halocline.zoo.download import Progress, download, validator_path
from halocline.zoo.index import Entry
from halocline.zoo.source import Local, Remote


def fetch(entry: Entry, source: Local | Remote, progress: Progress) -> Path:
    """Fetch a model into the cache.

    It gets its final name only after size and digest were checked, so that whoever finds that name may use it. An
    interrupted transfer leaves a partial file, from which the next one goes on.

    Raises:
        ZooError: offline, the source cannot be read, what it holds is not the pinned file, or the cache cannot
            be written.
    """
    if isinstance(source, Remote) and is_offline():
        raise ZooError(
            f"{entry.name} is not on this machine, and HALOCLINE_OFFLINE is set. Fetch it elsewhere from "
            f"{source.url}, then: halocline zoo pull {entry.name} --from FILE"
        )
    target = cached_path(entry)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not (has_size(target, entry.size) and digest(target) == entry.sha256):
                _fetch_locked(entry, source, target, progress)
    except OSError as error:
        raise ZooError(
            f"Cannot store {entry.name} ({entry.size} bytes) in {target.parent}: {error.strerror or error}. "
            "HALOCLINE_CACHE_DIR names another folder."
        ) from error
    return target


def is_offline() -> bool:
    """Whether the user forbade the network."""
    return os.environ.get("HALOCLINE_OFFLINE", "") not in ("", "0")


def _fetch_locked(entry: Entry, source: Local | Remote, target: Path, progress: Progress) -> None:
    part = target.with_suffix(".part")
    if isinstance(source, Local):
        check_file(entry, source.path)
        shutil.copyfile(source.path, part)
        progress(entry.size)
    else:
        download(entry, source.url, part, progress)
    _publish(entry, part, target)


def _publish(entry: Entry, part: Path, target: Path) -> None:
    """Give a complete file its final name, on disk and checked."""
    validator_path(part).unlink(missing_ok=True)
    try:
        check_file(entry, part)
    except ZooError as error:
        part.unlink()
        raise ZooError(f"What was fetched for {entry.name} was thrown away: {error}") from error
    publish(part, target)
