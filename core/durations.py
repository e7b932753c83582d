"""Work that takes long says so before it begins, with the time that it took here before.

It is said by the logger of this module, at the level INFO: the command line shows it, other hosts if they want to.
"""

from __future__ import annotations

import hashlib
import logging
import math
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import halocline
from halocline.cache import cache_folder, own_cache
from halocline.files import write_atomically
from halocline.ownership import read_own

#: Seconds that nobody needs to be told of.
NOTICEABLE: Final = 1.0

_logger = logging.getLogger(__name__)


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Say what the block does if it takes long, and keep how long it took.

    What has taken long before is announced at once, anything else as soon as it does. A block that fails leaves
    the time of the last one that did not; a cache that cannot be used only means that no time is known.

    Args:
        what: is done, as the beginning of a sentence. Equal texts stand for equal work.
    """
    last = _last(what)
    told_or_done = threading.Event()
    if last is not None and last >= NOTICEABLE:
        _logger.info("%s; it took %s here the last time.", what, _in_words(last))
        told_or_done.set()
    else:
        threading.Thread(
            target=_tell, args=(what, told_or_done), name="halocline-announcement", daemon=True
        ).start()
    began = time.monotonic()
    try:
        yield
    finally:
        told_or_done.set()
    _keep(what, time.monotonic() - began)


def _tell(what: str, done: threading.Event) -> None:
    """Say it once the time is noticeable, unless it is done by then."""
    if not done.wait(NOTICEABLE):
        _logger.info("%s.", what)


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100.0 else f"{seconds / 60.0:.0f} min"


def _name(what: str) -> str:
    """Of the file that keeps the time: caches may be shared by machines, and outlast versions."""
    return hashlib.sha256(f"{what}\0{halocline.__version__}\0{platform.node()}".encode()).hexdigest()


def _path(folder: Path, what: str) -> Path:
    return folder / f"{_name(what)}.seconds"


def _last(what: str) -> float | None:
    """Seconds it took before; None where that is not known, or was written by somebody else."""
    with suppress(OSError, ValueError):
        seconds = float(read_own(_path(cache_folder() / "durations", what)))
        return seconds if math.isfinite(seconds) else None
    return None


def _keep(what: str, seconds: float) -> None:
    with suppress(OSError):
        write_atomically(_path(own_cache("durations"), what), f"{seconds:.3f}\n".encode(), 0o600)
