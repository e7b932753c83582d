"""Where fetched models lie on this machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from halocline.cache import cache_folder
from halocline.errors import ZooError
from halocline.zoo.index import Entry


def cached_path(entry: Entry) -> Path:
    """Where a model is stored after it was fetched: under its digest, so that versions never mix."""
    return cache_folder() / file_name(entry)


def file_name(entry: Entry) -> str:
    """The name of a model's file in a store."""
    return f"sha256-{entry.sha256}.safetensors"


def shared_path(entry: Entry) -> Path | None:
    """Find a model in the read-only stores of ``HALOCLINE_MODEL_PATH``.

    There it may also be called ``NAME.safetensors``; such a file counts only if it is the pinned one.
    """
    stores = os.environ.get("HALOCLINE_MODEL_PATH", "").split(os.pathsep)
    for store in map(Path, filter(None, stores)):
        pinned, named = store / file_name(entry), store / f"{entry.name}.safetensors"
        if has_size(pinned, entry.size):
            return pinned
        if has_size(named, entry.size) and digest(named) == entry.sha256:
            return named
    return None


def has_size(path: Path, size: int) -> bool:
    """Whether there is a file of this size."""
    return path.is_file() and path.stat().st_size == size


def digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces.

    Raises:
        ZooError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ZooError(f"Cannot read {path}: {error.strerror}.") from error


def check_file(entry: Entry, path: Path) -> None:
    """Check size and digest of a file against the index.

    Raises:
        ZooError: there is no such file, or it is not the one that the index pins.
    """
    if not path.is_file():
        raise ZooError(f"There is no file {path}.")
    size = path.stat().st_size
    if size != entry.size:
        raise ZooError(f"{path} has {size} bytes, {entry.name} has {entry.size}.")
    found = digest(path)
    if found != entry.sha256:
        raise ZooError(f"{path} has the SHA-256 {found}, {entry.name} has {entry.sha256}.")
