"""Libraries that came with the package, for machines without a compiler: compiled for kinds of processors.

A wheel may carry them (see ``hatch_build.py``). A list beside them says what belongs to which source, with
digests: one whose source, headers or flags are others by now is not found, and one that is damaged is not loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

from halocline.canonical import to_canonical_json
from halocline.files import temporary_folder
from halocline.native.compiler import FLAGS, HEADERS, compile_library

_logger = logging.getLogger(__name__)

#: Where they lie.
FOLDER: Final = Path(__file__).parent / "prebuilt"

#: Their list: key → SHA-256 of the library.
LIST: Final = "list.json"

#: Levels of x86-64 by the name that compilers know, the widest vectors first, and what ``/proc/cpuinfo`` calls the
#: instructions of each that the one before lacks.
LEVELS: Final = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"},
}


@cache
def levels() -> tuple[str, ...]:
    """The levels whose code this processor runs, widest vectors first; none where that cannot be told."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return ()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    flags = next((set(line.split()) for line in text.splitlines() if line.startswith("flags")), set[str]())
    needed, usable = set[str](), list[str]()
    for level, more in reversed(LEVELS.items()):
        needed |= more
        if needed <= flags:
            usable.insert(0, level)
    return tuple(usable)


def prebuilt(name: str, source: str, flags: Sequence[str] = ()) -> bytes | None:
    """The bytes of a library that came with the package and that this processor can run, if there is one.

    Args:
        name: see `halocline.native.library`.
        source: likewise.
        flags: likewise.
    """
    listed = _listed()
    for level in levels() if listed else ():
        key = _key(name, source, flags, level)
        if key not in listed:
            continue
        path = FOLDER / f"{key}.so"
        try:
            data = path.read_bytes()
        except OSError as error:
            _logger.warning("The library %s of the package cannot be read: %s.", path, error.strerror or error)
            continue
        if hashlib.sha256(data).hexdigest() == listed[key]:
            return data
        _logger.warning("The library %s of the package is damaged, and is not used; install Halocline anew.", path)
    return None


def prebuild(asked: Iterable[tuple[str, str, tuple[str, ...]]], folder: Path) -> int:
    """Compile libraries for every level, and write them with their list.

    Args:
        asked: name, source and flags of each, as `halocline.native.library` takes them.
        folder: which is there, and empty.

    Returns:
        How many were compiled.

    Raises:
        KernelError: there is no compiler for these levels here.
    """

    def build(each: tuple[tuple[str, str, tuple[str, ...]], str]) -> tuple[str, str]:
        (name, source, flags), level = each
        key = _key(name, source, flags, level)
        with temporary_folder(folder) as temporary:
            compile_library(name, source, _flags(flags, level), temporary / f"{name}.so")
            data = (temporary / f"{name}.so").read_bytes()
        (folder / f"{key}.so").write_bytes(data)
        return key, hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor() as pool:  # each waits for a compiler
        listed = dict(pool.map(build, [(each, level) for each in asked for level in LEVELS]))
    (folder / LIST).write_text(json.dumps(listed, indent=1, sort_keys=True), encoding="utf-8")
    return len(listed)


@cache
def _listed() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((FOLDER / LIST).read_text(encoding="utf-8"))
    except FileNotFoundError:  # a wheel without any, or a checkout
        return {}
    except (OSError, ValueError) as error:
        _logger.warning("The list of the package's libraries cannot be read: %s.", error)
        return {}
    return found


def _key(name: str, source: str, flags: Sequence[str], level: str) -> str:
    headers = [path.read_text(encoding="utf-8") for path in sorted(HEADERS.iterdir())]
    what = {"library": name, "source": source, "headers": headers, "flags": _flags(flags, level)}
    return hashlib.sha256(to_canonical_json(what).encode()).hexdigest()


def _flags(flags: Sequence[str], level: str) -> list[str]:
    return [f"-march={level}" if flag == "-march=native" else flag for flag in (*FLAGS, *flags)]
