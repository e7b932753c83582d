"""State that is written again and again: of the files that went before, the last one is kept."""

from __future__ import annotations

from pathlib import Path

from halocline.files import replacement


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
    """Where the file before the newest one is kept."""
    return path.with_name(f"{path.stem}_prev{path.suffix}")


def newest(path: Path) -> Path | None:
    """The file, or the one before it if it is missing, as after a crash between two renames; None without both."""
    return next((each for each in (path, previous_path(path)) if each.exists()), None)
