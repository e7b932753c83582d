"""Ranks as processes of the driver, on its own machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from typing import Final, final

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # exported, but not in its types

from halocline.backends.ddp.channel import Channel
from halocline.errors import DistributedError
from halocline.place import Place, threads_per_rank

#: Seconds for ending by itself.
FAREWELL: Final = 2.0

#: -P: a file in the folder of the user, such as random.py, must not stand in for a module.
COMMAND: Final = (sys.executable, "-P", "-m", "halocline.backends.ddp.rank")


@final
class RankProcess:
    """A rank that the driver has started.

    Args:
        place: of the rank.
        address: environment variables that say where ranks meet.
        timeout: seconds, of the evaluator.

    Attributes:
        channel: to it.

    Raises:
        DistributedError: the process cannot be started.
    """

    def __init__(self, place: Place, address: dict[str, str], timeout: float) -> None:
        ours, theirs = Pipe()
        assert isinstance(ours, Connection)
        environment = {"OMP_NUM_THREADS": str(threads_per_rank(place.size)), **os.environ}
        try:
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno()), str(timeout)],
                stdin=subprocess.DEVNULL,
                stdout=2,  # the output of the program is not for ranks to write to
                pass_fds=[theirs.fileno()],
                env=environment | place.variables() | address,
                start_new_session=True,  # Ctrl-C is for the driver
            )
        except OSError as error:
            ours.close()
            raise DistributedError(f"Rank {place.rank} cannot be started: {error}.") from error
        finally:
            theirs.close()
        self.channel = Channel(ours, timeout)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ending(self) -> str:
        """How it ended, in words that follow its name."""
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
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def spawn(ranks: int, timeout: float, *, linked: bool) -> tuple[list[RankProcess], TCPStore | None]:
    """Start the ranks.

    Args:
        ranks: how many.
        timeout: seconds, of the evaluator.
        linked: whether they will talk to each other.

    Returns:
        The processes, and the store at which linked ranks meet, which has to live as long.

    Raises:
        DistributedError: a process cannot be started; none is left.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if linked else None
    # As torchrun says it: the store is there already, no rank has to open it.
    address = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port if store else 0),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    processes: list[RankProcess] = []
    try:
        for rank in range(ranks):
            processes.append(RankProcess(Place(rank, ranks, rank, ranks), address, timeout))
    except BaseException:
        for process in processes:
            process.stop(0.0)
            process.channel.close()
        raise
    return processes, store
