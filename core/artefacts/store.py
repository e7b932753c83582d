"""A store of files that are costly to make and are wholly described by a key."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from halocline.cache import cache_folder
from halocline.checkpoint.canonical import to_canonical_json
from halocline.errors import ArtefactError
from halocline.files import replacement, write_atomically

_logger = logging.getLogger(__name__)


def cached(key: Mapping[str, str], suffix: str, build: Callable[[Path], None]) -> Path:
    """Find the artefact of a key, or make it.

    However many processes ask at once, one of them builds and the others wait. Beside each artefact lies a
    ``.json`` file with its key and its SHA-256, against which it is checked at every use.

    Args:
        key: everything that the artefact depends on.
        suffix: how its file name ends, such as ``.pt2``.
        build: writes the artefact to the path that it is given, which has the suffix.

    Raises:
        ArtefactError: the cache folder cannot be written.
    """
    folder = cache_folder() / "artefacts"
    path = folder / (hashlib.sha256(to_canonical_json(dict(key)).encode()).hexdigest() + suffix)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not _is_intact(path, key):
                with replacement(path) as temporary:
                    build(temporary)
                write_atomically(path.with_suffix(".json"), _record(path, key))
    except OSError as error:
        raise ArtefactError(
            f"Cannot keep compiled programs in {folder}: {error.strerror or error}. "
            "HALOCLINE_CACHE_DIR names another folder."
        ) from error
    return path


def _is_intact(path: Path, key: Mapping[str, str]) -> bool:
    """Whether the artefact is there as it was written."""
    if not path.exists():
        return False
    try:
        intact = path.with_suffix(".json").read_bytes() == _record(path, key)
    except FileNotFoundError:
        intact = False
    if not intact:
        _logger.warning("The compiled program %s is damaged; it is built again.", path)
    return intact


def _record(path: Path, key: Mapping[str, str]) -> bytes:
    """What lies beside an artefact."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return json.dumps({"key": dict(key), "sha256": digest}, indent=1, sort_keys=True).encode()
