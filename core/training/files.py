"""Files that are either whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from halocline.errors import TrainingError


def write_atomically(path: Path, content: bytes, *, keep_previous: bool = False) -> None:
    """Write a file beside its place, force it to the disk and rename it.

    Args:
        path: where it belongs.
        content: what is in it.
        keep_previous: keep the file that was there under `previous_path`.

    Raises:
        TrainingError: it cannot be written. What was there before is intact.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep_previous and path.exists():
            path.replace(previous_path(path))
        temporary.replace(path)
    except OSError as error:
        raise TrainingError(f"Cannot write {path}: {error.strerror or error}. What was there is kept.") from error
    finally:
        temporary.unlink(missing_ok=True)


def previous_path(path: Path) -> Path:
    """Where the file before the newest one is kept."""
    return path.with_name(f"{path.stem}_prev{path.suffix}")
