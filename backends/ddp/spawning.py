"""Ranks as processes of the driver, on its own machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from typing import Final, final

from halocline.backends.ddp.channel import Channel
from halocline.backends.ddp.messages import TO_DRIVER
from halocline.errors import DistributedError
from halocline.lifeline import TiedProcess
from halocline.meeting import PrivateStore
from halocline.place import Place, threads_per_rank

#: Seconds for ending by itself.
FAREWELL: Final = 2.0

#: What a rank runs.
MODULE: Final = "halocline.backends.ddp.rank"


@final
class RankProcess:
    """A rank that the driver has started.

    Args:
        place: of the rank.
        store: where ranks meet.
        timeout: seconds, of the evaluator.

    Attributes:
        channel: to it.

    Raises:
        DistributedError: the process cannot be started.
    """

    def __init__(self, place: Place, store: PrivateStore, timeout: float) -> None:
        environment = {"OMP_NUM_THREADS": str(threads_per_rank(place.size)), **os.environ}
        try:
            ours, theirs = socket.socketpair()
            with contextlib.closing(theirs):
                self._process = TiedProcess(
                    MODULE,
                    [str(theirs.fileno()), str(timeout)],
                    descriptors=[theirs.fileno(), store.descriptor],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # the output of the program is not for ranks to write to
                    env=environment | store.variables(place),
                )
        except OSError as error:
            raise DistributedError(f"Rank {place.rank} cannot be started: {error}.") from error
        self.channel = Channel(ours, timeout, TO_DRIVER)

    @property
    def pid(self) -> int:
        """The number that the system has given to the rank's process."""
        return self._process.pid

    def ending(self) -> str:
        """How the process ended, in words that follow its name: by which signal, or with which status."""
        try:
            status = self._process.wait(1.0)  # its sockets close a little earlier
        except subprocess.TimeoutExpired:
            return "hung up"
        if status >= 0:
            return f"ended with status {status}"
        hint = "; perhaps memory ran out" if status == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-status).name}{hint}"

    def stop(self, seconds: float) -> None:
        """Wait until it has ended; end it then, with whatever it has started."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._process.end()
