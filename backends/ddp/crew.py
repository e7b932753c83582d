"""All ranks, as the driver sees them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, Final, TypeVar, final

from halocline.backends.ddp.channel import BEATS, Channel
from halocline.backends.ddp.messages import FailedAnswer, Hello, Signal
from halocline.backends.ddp.spawning import FAREWELL, RankProcess
from halocline.errors import DistributedError, HaloclineError
from halocline.program.replacement import Replacement

T = TypeVar("T")

#: Seconds in which the death of one rank may become known after another one has noticed it.
GRACE: Final = 1.0


@final
class Crew:
    """Ranks that live together: when one fails, all are ended.

    Args:
        timeout: seconds after which a rank that says nothing counts as hung.
        beside: the rank that runs in the driver's process, if one does.
        store: where ranks meet, if the driver keeps it; it lives as long as they do.

    Attributes:
        replaced: stages of their model that kernels have taken the place of, once they have it.
    """

    replaced: tuple[Replacement, ...] = ()

    def __init__(self, timeout: float, beside: threading.Thread | None = None, store: object = None) -> None:
        self._channels: list[Channel] = []
        self._processes: list[RankProcess] = []
        self._timeout, self._store = timeout, store
        quiet = threading.Event()
        beats = (self._channels, timeout / BEATS, quiet)
        threading.Thread(target=_beat, args=beats, name="halocline-driver", daemon=True).start()
        self._end = weakref.finalize(
            self, _end, self._channels, self._processes, beside, quiet, os.getpid(), gracefully=True
        )

    @property
    def alive(self) -> bool:
        """Whether it can be asked anything."""
        return self._end.alive

    def admit(self, channels: Iterable[Channel | RankProcess], seconds: float) -> list[Hello]:
        """Take in ranks, and wait until they have introduced themselves.

        Args:
            channels: to some of the next ranks, or those of the driver's own processes, which may start meanwhile.
            seconds: for coming up.

        Returns:
            What they say, in the order of their ranks.

        Raises:
            DistributedError: a rank does not come up. No rank is left, of those before neither.
        """
        with self._all_or_none():
            first = len(self._channels)
            for each in channels:
                if isinstance(each, RankProcess):
                    self._processes.append(each)
                self._channels.append(each.channel if isinstance(each, RankProcess) else each)
            hellos = self._answers(Hello, range(first, len(self._channels)), seconds)
            order = sorted(range(len(hellos)), key=lambda i: hellos[i].rank)
            self._channels[first:] = [self._channels[first + i] for i in order]
            return [hellos[i] for i in order]

    def ask(self, messages: Sequence[object], kind: type[T]) -> list[T]:
        """Send each rank its message and return their answers, both in the order of ranks.

        Args:
            messages: one for each rank.
            kind: class of what is answered.

        Raises:
            DistributedError: a rank died, hangs or ran out of memory. No rank is left.
            HaloclineError: what a rank raised. No rank is left.
        """
        with self._all_or_none():
            for rank, message in enumerate(messages):
                self._send(rank, message)
            return self._answers(kind, range(len(self._channels)), self._timeout)

    def close(self) -> None:
        """Tell the ranks to end, and wait until they have."""
        self._end()

    def kill(self) -> None:
        """End the ranks, whatever they are doing."""
        if (call := self._end.detach()) is not None:
            _end(*call[2], gracefully=False)

    @contextlib.contextmanager
    def _all_or_none(self) -> Iterator[None]:
        try:
            yield
        except BaseException:  # KeyboardInterrupt, too: nobody would take the answers
            self.kill()
            raise

    def _send(self, rank: int, message: object) -> None:
        try:
            self._channels[rank].send(message)
        except BlockingIOError:
            raise _silence(rank, self._timeout) from None
        except OSError:
            raise self._death(rank) from None

    def _answers(self, kind: type[T], ranks: range, timeout: float) -> list[T]:
        """One message of each of these ranks that is not a beat. The others have nothing to say, but may die."""
        answers: dict[int, T] = {}
        heard = dict.fromkeys(ranks, time.monotonic())
        while len(answers) < len(heard):
            quietest = min((rank for rank in ranks if rank not in answers), key=heard.__getitem__)
            ready = self._wait(heard[quietest] + timeout)
            if not ready:
                raise _silence(quietest, timeout)
            for rank in ready:
                message, heard[rank] = self._receive(rank), time.monotonic()
                if isinstance(message, FailedAnswer):
                    raise self._cause(rank, message)
                if message is Signal.BEAT:
                    continue
                if rank not in ranks or rank in answers or not isinstance(message, kind):
                    raise DistributedError(
                        f"Rank {rank} said {type(message).__name__} unasked; all ranks were stopped."
                    )
                answers[rank] = message
        return [answers[rank] for rank in ranks]

    def _wait(self, until: float) -> list[int]:
        """Ranks that have said something, or have died."""
        descriptors = [channel.fileno() for channel in self._channels]
        ready = wait(descriptors, max(0.0, until - time.monotonic()))
        return [rank for rank, descriptor in enumerate(descriptors) if descriptor in ready]

    def _receive(self, rank: int) -> Any:
        try:
            return self._channels[rank].receive()
        except BlockingIOError:
            raise _silence(rank, self._timeout) from None
        except (EOFError, OSError):
            raise self._death(rank) from None
        except DistributedError as error:
            raise DistributedError(f"Rank {rank}: {error} All ranks were stopped.") from error

    def _cause(self, rank: int, failure: FailedAnswer) -> HaloclineError:
        """The failure, or what it follows from: a rank notices the death of a neighbour before the driver does."""
        until = time.monotonic() + GRACE
        while failure.secondary and (ready := self._wait(until)):
            for other in ready:
                message = self._receive(other)
                if isinstance(message, FailedAnswer) and not message.secondary:
                    return message.error(other)
        return failure.error(rank)

    def _death(self, rank: int) -> DistributedError:
        how = self._processes[rank].ending() if self._processes else "closed the connection"
        return DistributedError(f"Rank {rank} {how}; all ranks were stopped.")


def _silence(rank: int, seconds: float) -> DistributedError:
    return DistributedError(
        f"Rank {rank} gave no sign of life for {seconds:g} s and counts as hung; all ranks were stopped."
    )


def _beat(channels: Sequence[Channel], interval: float, quiet: threading.Event) -> None:
    """Let ranks know that the driver lives, whatever it does between two steps."""
    while not quiet.wait(interval):
        for channel in tuple(channels):
            with contextlib.suppress(OSError):  # the next step will tell
                channel.beat()


def _end(
    channels: Sequence[Channel],
    processes: Sequence[RankProcess],
    beside: threading.Thread | None,
    quiet: threading.Event,
    owner: int,
    *,
    gracefully: bool,
) -> None:
    quiet.set()
    if os.getpid() != owner:
        return  # a fork of the driver, whose ranks these are not
    for channel in channels if gracefully else ():
        with contextlib.suppress(OSError):
            channel.send(Signal.STOP)
    for process in processes:
        process.stop(FAREWELL if gracefully else 0.0)
    if beside is not None and gracefully:
        beside.join(FAREWELL)
    for channel in channels:
        channel.close()
