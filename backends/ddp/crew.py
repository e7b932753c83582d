"""All ranks, as the driver sees them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, Final, final

from halocline.backends.ddp.channel import BEATS, Channel
from halocline.backends.ddp.messages import Failure, Hello, Signal
from halocline.backends.ddp.spawning import FAREWELL, RankProcess
from halocline.errors import DistributedError, HaloclineError

#: Seconds in which the death of one rank may become known after another one has noticed it.
GRACE: Final = 1.0


@final
class Crew:
    """Ranks that live together: when one fails, all are ended.

    Args:
        channels: one for each rank.
        timeout: seconds after which a rank that says nothing counts as hung.
        processes: of the ranks, if the driver has started them, in the order of the channels.
        beside: the rank that runs in the driver's process, if one does.
        store: where ranks meet, if the driver keeps it; it lives as long as they do.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        timeout: float,
        processes: Sequence[RankProcess] = (),
        beside: threading.Thread | None = None,
        store: object = None,
    ) -> None:
        self._channels, self._timeout, self._processes = tuple(channels), timeout, tuple(processes)
        self._store = store
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

    def hellos(self, seconds: float) -> list[Hello]:
        """What the ranks say first; from then on they are in order.

        Args:
            seconds: for coming up.

        Raises:
            DistributedError: a rank does not come up. No rank is left.
        """
        with self._all_or_none():
            hellos: list[Hello] = self._answers(seconds)
            self._channels = tuple(c for _, c in sorted(zip(hellos, self._channels, strict=True), key=_rank))
            return sorted(hellos, key=lambda hello: hello["rank"])

    def ask(self, messages: Sequence[object]) -> list[Any]:
        """Send each rank its message and return their answers, both in the order of ranks.

        Raises:
            DistributedError: a rank died, hangs or ran out of memory. No rank is left.
            HaloclineError: what a rank raised. No rank is left.
        """
        with self._all_or_none():
            for rank, message in enumerate(messages):
                self._send(rank, message)
            return self._answers(self._timeout)

    def close(self) -> None:
        """Let the ranks end."""
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

    def _answers(self, timeout: float) -> list[Any]:
        """One message of each rank that is not a beat."""
        answers: dict[int, Any] = {}
        heard = [time.monotonic()] * len(self._channels)
        while len(answers) < len(heard):
            quietest = min((rank for rank in range(len(heard)) if rank not in answers), key=heard.__getitem__)
            ready = self._wait(heard[quietest] + timeout)
            if not ready:
                raise _silence(quietest, timeout)
            for rank in ready:
                message, heard[rank] = self._receive(rank), time.monotonic()
                if isinstance(message, Failure):
                    raise self._cause(rank, message)
                if message is not Signal.BEAT:
                    answers[rank] = message
        return [answers[rank] for rank in range(len(heard))]

    def _wait(self, until: float) -> list[int]:
        """Ranks that have said something, or have died."""
        ready = wait([channel.connection for channel in self._channels], max(0.0, until - time.monotonic()))
        return [rank for rank, channel in enumerate(self._channels) if channel.connection in ready]

    def _receive(self, rank: int) -> Any:
        try:
            return self._channels[rank].receive()
        except BlockingIOError:
            raise _silence(rank, self._timeout) from None
        except (EOFError, OSError):
            raise self._death(rank) from None

    def _cause(self, rank: int, failure: Failure) -> HaloclineError:
        """The failure, or what it follows from: a rank notices the death of a neighbour before the driver does."""
        until = time.monotonic() + GRACE
        while failure.secondary and (ready := self._wait(until)):
            for other in ready:
                message = self._receive(other)
                if isinstance(message, Failure) and not message.secondary:
                    return message.error(other)
        return failure.error(rank)

    def _death(self, rank: int) -> DistributedError:
        how = self._processes[rank].ending() if self._processes else "closed the connection"
        return DistributedError(f"Rank {rank} {how}; all ranks were stopped.")


def _silence(rank: int, seconds: float) -> DistributedError:
    return DistributedError(
        f"Rank {rank} gave no sign of life for {seconds:g} s and counts as hung; all ranks were stopped."
    )


def _rank(pair: tuple[Hello, Channel]) -> int:
    return pair[0]["rank"]


def _beat(channels: Sequence[Channel], interval: float, quiet: threading.Event) -> None:
    """Let ranks know that the driver lives, whatever it does between two steps."""
    while not quiet.wait(interval):
        for channel in channels:
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
