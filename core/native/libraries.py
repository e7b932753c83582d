"""Libraries of compiled C++: built once for each machine, kept, and loaded once for each process."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast, final

from halocline import forks
from halocline.artefacts import cached
from halocline.durations import announced
from halocline.errors import ArtefactError, KernelError, UsageError
from halocline.files import temporary_folder
from halocline.native.compiler import FLAGS, HEADERS, compile_library, require_compiler, target
from halocline.native.prebuilt import prebuilt

_logger = logging.getLogger(__name__)

#: The pool of threads that all libraries share, as source.
_POOL: Final = Path(__file__).parent / "rows.cpp"


@final
class Asked(NamedTuple):
    """What `library` is asked for; see there."""

    name: str
    source: str
    flags: tuple[str, ...]


_loaded: dict[Asked, ctypes.CDLL] = {}
_lock = forks.lock()

#: While it is `recorded` what is asked for.
_recorded: list[Asked] | None = None


def library(name: str, source: str, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Load C++ that is compiled at its first use on this machine, and kept in the cache folder.

    What is kept depends on the source, the headers, the flags, the compiler and the processor: if one of them
    changes, it is compiled anew. Nothing is run but what the user has compiled (`halocline.artefacts.store`) or
    installed: what the package carries for this kind of processor is not compiled (`halocline.native.prebuilt`).
    Where the cache folder cannot be used, it is compiled for this process alone, which is said once.

    Args:
        name: for messages, such as ``convolution``.
        source: C++17, one translation unit, with functions that are ``extern "C"``. It may include ``lanes.h`` and
            ``rows.h``.
        flags: further ones of the compiler, after `halocline.native.compiler.FLAGS`.

    Returns:
        The library. Its functions have no declared types: set ``argtypes`` and ``restype``. Calls release the
        interpreter's lock.

    Raises:
        KernelError: there is no compiler, it refuses the source, or the library cannot be loaded.
    """
    known = Asked(name, source, tuple(flags))
    if _recorded is not None:
        _recorded.append(known)
        return cast("ctypes.CDLL", _Recorded())
    with _lock:
        if known not in _loaded:
            _loaded[known] = _joined(_opened(name, prebuilt(*known) or _compiled(*known)))
        return _loaded[known]


@contextmanager
def recorded() -> Iterator[list[Asked]]:
    """Within the block, note down which libraries are asked for, in a process that does nothing else.

    They are neither compiled nor loaded: whoever asks gets functions that can be declared, and not called.
    """
    global _recorded
    _recorded = []
    try:
        _pool()
        yield _recorded
    finally:
        _recorded = None


class _Recorded:
    """Stands for a library."""

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace()


def _compiled(name: str, source: str, flags: tuple[str, ...]) -> bytes:
    """The bytes of a library, from the cache if they can be kept there.

    Raises:
        KernelError: it cannot be compiled.
    """
    compiler, flags = require_compiler(), (*FLAGS, *flags)
    key = {
        "library": name,
        "source": _digest(source),
        "headers": _digest(*(path.read_text(encoding="utf-8") for path in sorted(HEADERS.iterdir()))),
        "flags": " ".join(flags),
        "compiler": _digest(target(compiler, flags)),
    }

    def build(path: Path) -> None:
        with announced(f"Compiling {name!r} for this machine, once"):
            compile_library(name, source, flags, path)

    try:
        return cached(key, ".so", build, bytes, f"the library {name!r}")
    except (ArtefactError, UsageError) as error:  # the cache folder is not there, or cannot be relied on
        _tell(f"{error} Until then native code is compiled anew in every process.")
        try:
            with temporary_folder(Path(tempfile.gettempdir())) as folder:
                path = folder / f"{name}.so"
                build(path)
                return path.read_bytes()
        except OSError as failure:
            raise _unwritable(name, failure) from failure


def _opened(name: str, data: bytes) -> ctypes.CDLL:
    """Load bytes as a library, from a file that nobody else can have changed and that has never been before.

    The system would not look at a file again whose path it has seen.

    Raises:
        KernelError: it cannot be loaded.
    """
    try:
        with temporary_folder(Path(tempfile.gettempdir())) as folder:
            path = folder / f"{name}.so"
            path.write_bytes(data)
            return ctypes.CDLL(str(path))
    except OSError as error:
        raise _unwritable(name, error) from error


def _joined(loaded: ctypes.CDLL) -> ctypes.CDLL:
    """Give a library that includes ``rows.h`` the pool of this process."""
    if hasattr(loaded, "halo_join"):
        loaded.halo_join(ctypes.cast(_pool().halo_rows, ctypes.c_void_p))
    return loaded


def _pool() -> ctypes.CDLL:
    return library("rows", _POOL.read_text(encoding="utf-8"))


def _unwritable(name: str, error: OSError) -> KernelError:
    return KernelError(
        f"The compiled library {name!r} cannot be loaded from {tempfile.gettempdir()}: {error}. "
        "TMPDIR names another folder."
    )


@cache
def _tell(message: str) -> None:
    """Warn once in a process."""
    _logger.warning("%s", message)


def _digest(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()
