"""A digest of source code: what was found out about code, or compiled from it, holds for these very files.

A version is not enough: authors install their plugins editably and change them under one version.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, all_suffixes
from pathlib import Path

#: What Python executes; files with other endings are data.
_CODE = tuple(all_suffixes())


def source_digest(module: str) -> str:
    """The digest of all files that a module belongs to: those of its outermost package, or the module alone.

    Nothing is imported. Code is read; data files beside it, which may be large, count by name, size and time of
    change. Namespace packages are shared by many distributions: the outermost package below them counts.

    Args:
        module: its dotted name, which may be installed in any way, editably too.

    Returns:
        A SHA-256 in hexadecimal; empty if the module has no files, as in a notebook, or is not there: nothing
        that depends on its source can be kept then.
    """
    places = _places(module)
    if not places:
        return ""
    digest = hashlib.sha256()
    for place in places:
        for name, path in _files(place):
            digest.update(f"{name}\0{_fingerprint(path)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _places(module: str) -> list[Path]:
    """The folders of the outermost package that is no namespace, or the file of a module."""
    name, search = "", None
    for part in module.split(".") if module != "__main__" else ():
        name = f"{name}.{part}".lstrip(".")
        spec = _find(name, search)
        if spec is None:
            break
        search = list(spec.submodule_search_locations or ())
        if spec.has_location and spec.origin:
            return [Path(place) for place in search] or [Path(spec.origin)]
    loaded = getattr(sys.modules.get(module), "__file__", None)  # a script has a file but no place on the path
    return [Path(loaded)] if loaded else []


def _find(name: str, search: list[str] | None) -> ModuleSpec | None:
    """Like `importlib.util.find_spec`, which would import the packages above."""
    for finder in sys.meta_path:
        spec = finder.find_spec(name, search) if hasattr(finder, "find_spec") else None
        if spec is not None:
            return spec
    return None


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    """All files below a folder, or a file itself, under names that do not depend on where they are installed."""
    if not place.is_dir():
        yield place.name, place
        return
    seen: set[str] = set()
    for folder, folders, names in os.walk(place, followlinks=True):
        real = os.path.realpath(folder)
        # Caches follow from the source, and links may lead in circles.
        folders[:] = [] if real in seen else sorted(name for name in folders if name != "__pycache__")
        if real not in seen:
            seen.add(real)
            paths = (Path(folder, name) for name in sorted(names))
            yield from ((path.relative_to(place).as_posix(), path) for path in paths)


def _fingerprint(path: Path) -> str:
    try:
        if path.name.endswith(_CODE):
            return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        about = path.stat()
    except OSError as error:  # gone in between, a dangling link, or not ours to read
        return f"unreadable: {error.errno}"
    return f"{about.st_size} {about.st_mtime_ns}"
