"""Ctrl-C and a polite kill: work in hand is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import final

from halocline.cli.output import say


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


@final
class Interruption:
    """Whether, and by which signal, the work is to end."""

    def __init__(self) -> None:
        self._signal: int | None = None

    def __bool__(self) -> bool:
        return self._signal is not None

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program that a signal ended; 0 if there was none."""
        return 0 if self._signal is None else 128 + self._signal

    def hold(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal: the handler to set for it.

        A second SIGTERM says nothing new: launchers pass on to each process what schedulers have sent to all.

        Raises:
            KeyboardInterrupt: it is Ctrl-C after another signal, which ends the program at once.
        """
        del frame
        if self:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self._signal = number
        say("halocline: ending after this step; interrupt again to end at once.")


@contextmanager
def held_back() -> Iterator[Interruption]:
    """Take note of SIGINT and SIGTERM within the block instead of being interrupted by them.

    Once one has come, SIGTERM is held beyond the block, to the end of `terminated_on_sigterm`: one that comes
    again, as from launchers, finds done what the first has asked for, and must not cut off what is said of it.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield interruption
        return
    previous = {number: signal.signal(number, interruption.hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            if not (interruption and handler is _raise_terminated):
                signal.signal(number, handler)
