"""Let a polite kill unwind the program as Ctrl-C does, so that work in hand is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. Whoever stops cleanly on Ctrl-C does so on this, too."""


@contextmanager
def terminated_on_sigterm() -> Iterator[None]:
    """Raise `Terminated` in the main thread when SIGTERM arrives within the block."""
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    previous = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _raise_terminated(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise Terminated
