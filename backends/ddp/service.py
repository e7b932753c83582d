"""A rank answers what the driver asks."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Final, final

from halocline.backends.ddp.channel import BEATS, Channel
from halocline.backends.ddp.messages import Assignment, FailedAnswer, Hello, Ready, Signal
from halocline.backends.ddp.worker import DomainWorker
from halocline.errors import DistributedError
from halocline.place import Place

#: What the rank tells itself once the driver has gone without a word.
_LOST: Final = object()


def serve(
    channel: Channel,
    greeting: Hello,
    place: Place,
    timeout: float,
    abandon: Callable[[], object],
    check: Callable[[Assignment], None] = lambda assignment: None,
) -> None:
    """Work until the driver says that it is enough; Ctrl-C and SIGTERM are for the driver to decide about.

    Args:
        channel: to the driver.
        greeting: what to say first.
        place: of this rank.
        timeout: seconds after which a driver that says nothing counts as gone.
        abandon: what to do then, from another thread: this one may be waiting for a rank that is gone as well.
        check: raises a HaloclineError at what this rank was not started for.

    Raises:
        DistributedError: the driver is gone.
    """
    with _deaf():
        _serve(_Line(channel, timeout, abandon), greeting, place, check)


def _serve(line: _Line, greeting: Hello, place: Place, check: Callable[[Assignment], None]) -> None:
    line.answer(greeting)
    worker: DomainWorker | None = None
    while (request := line.request()) is not Signal.STOP:
        if request is _LOST:
            raise DistributedError(f"Rank {place.rank} was left by the driver in rank 0, which failed or hangs.")
        try:
            if isinstance(request, Assignment):
                check(request)
                worker = DomainWorker(request, place)
                answer: object = Ready(worker.replaced)
            else:
                assert worker is not None
                answer = worker.answer(request)
        except Exception as error:  # whatever it is, the driver has to know
            answer = FailedAnswer.of(error)
        line.answer(answer)
    if worker is not None:
        worker.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """Pass over the signals that schedulers and launchers send to all processes of a program at a time limit.

    The driver ends its step and keeps its state, for which it needs its ranks; they end with it, however it ends.
    """
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # the rank beside the driver, whose signals they are
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@final
class _Line:
    """Listens in a thread of its own, which also tells the driver that the rank is alive while it works."""

    def __init__(self, channel: Channel, timeout: float, abandon: Callable[[], object]) -> None:
        self._channel, self._timeout, self._abandon = channel, timeout, abandon
        self._requests: SimpleQueue[object] = SimpleQueue()
        self._working = False
        threading.Thread(target=self._listen, name="halocline-rank", daemon=True).start()

    def request(self) -> object:
        """Wait for the next request, `Signal.STOP`, or `_LOST`."""
        return self._requests.get()

    def answer(self, message: object) -> None:
        self._working = False  # before the answer, as the next request may follow at once
        try:
            self._channel.send(message)
        except OSError:
            self._leave()

    def _listen(self) -> None:
        heard = time.monotonic()
        try:
            while time.monotonic() - heard < self._timeout or self._channel.ready(0.0):
                if self._channel.ready(self._timeout / BEATS):
                    message, heard = self._channel.receive(), time.monotonic()
                    if message is Signal.STOP:
                        self._requests.put(message)
                        return
                    if message is not Signal.BEAT:
                        self._working = True
                        self._requests.put(message)
                if self._working:
                    self._channel.beat()
        except DistributedError as error:  # what arrived cannot be taken
            self.answer(FailedAnswer.of(error))
        except (EOFError, OSError):
            pass  # the driver is gone: the same as silence
        self._leave()

    def _leave(self) -> None:
        self._requests.put(_LOST)
        self._abandon()
