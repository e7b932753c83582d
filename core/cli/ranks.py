"""Start ranks on this machine and watch over them: if one fails, all are stopped and one sentence says why."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any, Self, final

from halocline.cli.output import say
from halocline.errors import DistributedError
from halocline.lifeline import TiedProcess
from halocline.meeting import PrivateStore
from halocline.place import Place, usable_cores

#: Status of a rank that lost another: it leaves without a word, as whoever started it knows more.
LOST = 69
#: Seconds that the others get to notice that a rank has failed, or to write what they have in hand.
GRACE = 5.0
#: Seconds between two looks at whether ranks that are starting have been loaded.
GLANCE = 0.05
#: Set for ranks that are started here.
STARTED = "HALOCLINE_STARTED_RANK"

_ADVICE = "Go on from the last epoch kept with --resume."


def run_ranks(words: Sequence[str], ranks: int, seconds: float) -> int:
    """Run a command of Halocline as so many ranks.

    Ctrl-C and SIGTERM are passed on to all ranks, which have as long as `seconds` to come to the end of a step.

    Args:
        words: the command and its arguments.
        ranks: how many to start.
        seconds: after which ranks give up one that does not answer.

    Returns:
        0, or the status of a rank that has said itself what is wrong.

    Raises:
        DistributedError: a rank was killed, or did not answer.
    """
    with _Ranks(words, ranks) as started:
        try:
            return started.watch(seconds)
        except KeyboardInterrupt:
            started.interrupt(seconds)
            raise


@final
class _Ranks:
    """Processes of this machine; none outlives the block, nor this process."""

    def __init__(self, words: Sequence[str], ranks: int) -> None:
        self._store = PrivateStore()
        self._words, self._count = words, ranks
        self._processes: list[TiedProcess] = []
        self._files = ExitStack()
        self._said: list[IO[bytes]] = []
        self._ends: queue.SimpleQueue[int] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        try:
            self._start_all()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.end()
        self._files.close()

    def watch(self, seconds: float) -> int:
        """Wait until all ranks have ended well, or one has not. See `run_ranks`."""
        for _ in range(self._count):
            rank = self._ends.get()
            if self._processes[rank].returncode != 0:
                self._await_all(GRACE)
                return self._explain(rank, seconds)
        return 0

    def interrupt(self, seconds: float) -> None:
        """Ask all ranks to stop, and wait until they have."""
        for process in self._processes:
            process.terminate()
        self._await_all(seconds + GRACE)

    def _start_all(self) -> None:
        """In waves of one rank for each core: what they have to import would take no less time all at once."""
        wave = usable_cores()
        for first in range(0, self._count, wave):
            ranks = range(first, min(first + wave, self._count))
            for rank in ranks:
                self._start(rank)
            while not self._store.have_come(ranks):
                if any(process.poll() is not None for process in self._processes):
                    return  # it will be seen why
                time.sleep(GLANCE)
        self._store.start()

    def _start(self, rank: int) -> None:
        place = Place(rank, self._count, rank, self._count)
        streams: dict[str, Any] = {}
        if rank > 0:  # only the first speaks; what another has said is shown if it fails
            self._said.append(self._files.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115
            streams = {"stdout": subprocess.DEVNULL, "stderr": self._said[-1]}
        process = TiedProcess(  # in a session of its own: Ctrl-C is passed on once, by this process
            "halocline",
            self._words,
            descriptors=[self._store.descriptor],
            env=os.environ | self._store.variables(place) | {STARTED: "1"},
            stdin=subprocess.DEVNULL,
            **streams,
        )
        self._processes.append(process)
        threading.Thread(target=self._await_end, args=(rank,), daemon=True).start()

    def _await_end(self, rank: int) -> None:
        self._processes[rank].wait()
        self._ends.put(rank)

    def _await_all(self, seconds: float) -> None:
        """Let the ranks end by themselves; those that take longer are killed at the end of the block."""
        deadline = time.monotonic() + seconds
        while any(process.returncode is None for process in self._processes):
            try:
                self._ends.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return

    def _explain(self, first: int, seconds: float) -> int:
        """Find the rank that is to blame: the one that ended first, unless it only lost another."""
        statuses = [process.returncode for process in self._processes]
        if statuses[0] is not None and statuses[0] > 0 and statuses[0] != LOST:
            return statuses[0]  # it has said why
        for rank in (first, *range(len(statuses))):
            status = statuses[rank]
            if status is not None and status not in (0, LOST):
                return self._blame(rank, status)
        hung = [rank for rank, status in enumerate(statuses) if status is None]
        who = f"Rank {hung[0]}" if hung else "A rank"
        raise DistributedError(f"{who} did not answer within {seconds:g} s; all were stopped. {_ADVICE}")

    def _blame(self, rank: int, status: int) -> int:
        if status < 0:
            name = signal.Signals(-status).name
            raise DistributedError(f"Rank {rank} was ended by {name}; all were stopped. {_ADVICE}")
        said = self._said[rank - 1]
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
        if not words:
            raise DistributedError(f"Rank {rank} ended with status {status}; all were stopped. {_ADVICE}")
        say(words)
        return status
