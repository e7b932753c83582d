"""Where models lie on this machine: those that were fetched, and those that were made here.

The index pins what is fetched. What is converted from it may differ between machines in the last bits of its
constants, so that its SHA-256 is taken when it is stored, and lies in a file beside it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from halocline.cache import cache_folder, expanded, find_cache
from halocline.errors import ZooError
from halocline.files import write_atomically
from halocline.ownership import require_trusted
from halocline.zoo.entry import Pinned


def cached_path(pinned: Pinned) -> Path:
    """Where a model is stored after it was fetched: under its digest, so that versions never mix."""
    return cache_folder() / file_name(pinned)


def find_cached(name: str) -> Path | None:
    """A file of the cache, if it is there."""
    folder = find_cache()
    return folder / name if folder and is_file(folder / name) else None


def is_file(path: Path) -> bool:
    """Whether there is a file that can be seen: in a folder that is closed to the user there is none."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def file_name(pinned: Pinned) -> str:
    """The name of a model's file in a store."""
    return f"sha256-{pinned.sha256}.safetensors"


def shared_stores() -> list[Path]:
    """The folders of ``HALOCLINE_MODEL_PATH``, read-only stores, in order."""
    folders = os.environ.get("HALOCLINE_MODEL_PATH", "").split(os.pathsep)
    return [expanded(folder, "The folder in HALOCLINE_MODEL_PATH") for folder in folders if folder]


def shared_path(pinned: Pinned) -> Path | None:
    """Find a model in the shared stores.

    There it may also be called ``NAME.safetensors``; such a file counts only if it is the pinned one. One under
    its digest that is not the pinned one is damaged, and given back only if there is no other.
    """
    damaged = None
    for store in shared_stores():
        by_digest, by_name = store / file_name(pinned), store / f"{pinned.name}.safetensors"
        for path in (by_digest, by_name):
            if is_pinned(pinned, path):
                return path
        if damaged is None and has_size(by_digest, pinned.size):
            damaged = by_digest
    return damaged


def is_pinned(pinned: Pinned, path: Path) -> bool:
    """Whether a file can be read and is the pinned one."""
    try:
        check_file(pinned, path)
    except ZooError:
        return False
    return True


def has_size(path: Path, size: int) -> bool:
    """Whether there is a file of this size."""
    return is_file(path) and path.stat().st_size == size


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


def check_file(pinned: Pinned, path: Path) -> None:
    """Check size and digest of a file against the index.

    Raises:
        ZooError: there is no such file, or it is not the one that the index pins.
    """
    if not is_file(path):
        raise ZooError(f"There is no file {path}.")
    size = path.stat().st_size
    if size != pinned.size:
        raise ZooError(f"{path} has {size} bytes, {pinned.name} has {pinned.size}.")
    found = digest(path)
    if found != pinned.sha256:
        raise ZooError(f"{path} has the SHA-256 {found}, {pinned.name} has {pinned.sha256}.")


def seal_path(path: Path) -> Path:
    """Where the digest of a file lies, in the form that ``sha256sum --check`` reads."""
    return path.with_name(f"{path.name}.sha256")


def seal(temporary: Path, path: Path) -> None:
    """Write the digest of a complete file that is about to get its final name.

    The digest comes first: whoever finds the file finds a digest beside it.

    Raises:
        OSError: the disk is full or failed.
    """
    write_atomically(seal_path(path), f"{digest(temporary)}  {path.name}\n".encode(), 0o644)


def check_sealed(path: Path, *, store: bool = False) -> None:
    """Compare a file with the digest beside it.

    Anybody can write a file and its digest. So both count only where nobody else can write, and if they are the
    work of the user, of root, or of whoever keeps a store that the user has named.

    Args:
        path: of the file.
        store: whether it lies in a store rather than in the cache.

    Raises:
        ZooError: it is not what was stored, one of the two is not there, or is somebody else's.
    """
    try:
        for each in (path, seal_path(path)):
            if each.exists():
                require_trusted(each, store=store)
    except OSError as error:
        raise ZooError(f"{error.strerror or error}.") from error
    try:
        sealed = seal_path(path).read_text(encoding="ascii").partition(" ")[0]
    except (OSError, ValueError) as error:
        raise ZooError(f"The digest {seal_path(path)} of what was stored cannot be read.") from error
    found = digest(path)
    if found != sealed:
        raise ZooError(f"{path} has the SHA-256 {found}, {sealed} was stored.")
