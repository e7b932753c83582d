"""Ranks as processes that torchrun has started, on one node or on many."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from multiprocessing import AuthenticationError
from typing import Final

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]  # exported, but not in their types

from halocline.backends.ddp.channel import Channel
from halocline.backends.ddp.doors import Door, NetworkDoor, NodeDoor, knock
from halocline.backends.ddp.messages import TO_DRIVER, TO_RANK, Assignment, hello
from halocline.backends.ddp.rank import end_process
from halocline.backends.ddp.service import serve
from halocline.errors import DistributedError, UsageError
from halocline.meeting import GATHERING, meeting_point
from halocline.place import Place

#: Seconds after which a rank asks again where the driver is, if it was not where the store says.
AGAIN: Final = 0.2

#: Seconds for the driver to say what happened: torchrun ends it as soon as it sees another process fail.
LAST_WORDS: Final = 3.0

#: Set once this process has called the others together: they do not come a second time.
_called = threading.Event()


def gather(place: Place, assignment: Assignment) -> tuple[list[Channel], threading.Thread]:
    """Connect the driver, in rank 0, with all ranks; its own rank runs in a thread beside it.

    Args:
        place: of the driver.
        assignment: that ranks will be given.

    Returns:
        Channels, in no order, and the thread.

    Raises:
        UsageError: the ranks serve, or served, another evaluator.
        DistributedError: some do not come.
    """
    if _called.is_set():
        raise UsageError(
            "The processes of torchrun serve one evaluator, and end with it or with its first failure; use one "
            "for everything, and start the program again after a failure, as torchrun --max-restarts does."
        )
    _called.set()
    with _open_door(place) as door:
        _store().set("driver", door.address)
        thread = threading.Thread(
            target=_serve_beside, args=(door.address, place, assignment), name="halocline-rank-0", daemon=True
        )
        thread.start()
        return _accept_all(door, place.size, assignment.timeout), thread


def serve_driver(place: Place, digest: str, inner: str, timeout: float) -> None:
    """Be one of the other ranks, until the driver has finished.

    Args:
        place: of this rank.
        digest: of the model that it was called with.
        inner: the executor that it was called with.
        timeout: seconds, of the evaluator.

    Raises:
        DistributedError: there is no driver, or no longer.
    """
    channel = _find_driver(place, timeout)

    def check(assignment: Assignment) -> None:
        refuse_other_work(assignment, digest, inner)

    try:
        serve(channel, hello(place.rank, digest), place, timeout, _end_late, check)
    except DistributedError:
        time.sleep(LAST_WORDS)
        raise
    channel.close()


def refuse_other_work(assignment: Assignment, digest: str, inner: str) -> None:
    """Refuse what this rank was not called with, whoever asks for it.

    Raises:
        DistributedError: model or executor are others.
    """
    if assignment.model.digest != digest or assignment.inner != inner:
        raise DistributedError(
            f"It was called with a model of SHA-256 {digest} on {inner!r}, and is asked for one of "
            f"{assignment.model.digest} on {assignment.inner!r}; make the same evaluator everywhere."
        )


def _end_late() -> None:
    """End this process if it does not by itself, because it waits for a rank that is gone."""
    time.sleep(2.0 * LAST_WORDS)
    end_process()


def _store() -> Store:
    return PrefixStore("halocline", meeting_point())


def _open_door(place: Place) -> Door:
    return NodeDoor() if _is_one_node(place) else NetworkDoor(os.environ["MASTER_ADDR"], place.size)


def _is_one_node(place: Place) -> bool:
    """What torchrun has said to this process decides how it connects, and never what the store says."""
    return place.local_size == place.size


def _find_driver(place: Place, timeout: float) -> Channel:
    """Connect to where the store says the driver is.

    That may be the driver before a restart, until the new one has written its own address.
    """
    until = time.monotonic() + GATHERING
    while True:
        try:
            sock = knock(_store().get("driver").decode(), timeout, on_node=_is_one_node(place))
            return Channel(sock, timeout, TO_RANK)
        except (RuntimeError, OSError, EOFError, ValueError, AuthenticationError) as error:
            if time.monotonic() > until:
                raise DistributedError(f"Rank {place.rank} did not find the driver in rank 0: {error}") from error
        time.sleep(AGAIN)


def _serve_beside(address: str, place: Place, assignment: Assignment) -> None:
    timeout = assignment.timeout
    channel = Channel(knock(address, timeout, on_node=_is_one_node(place)), timeout, TO_RANK)
    greeting = hello(place.rank, assignment.model.digest)
    with contextlib.suppress(DistributedError):  # the driver, in this same process, says it itself
        serve(channel, greeting, place, timeout, abandon=lambda: None)
    channel.close()


def _accept_all(door: Door, ranks: int, timeout: float) -> list[Channel]:
    channels: list[Channel] = []
    deadline = time.monotonic() + GATHERING
    while len(channels) < ranks:
        try:
            channels.append(Channel(door.accept(deadline - time.monotonic()), timeout, TO_DRIVER))
        except TimeoutError:
            raise DistributedError(
                f"Only {len(channels)} of {ranks} ranks came within {GATHERING:g} s; "
                "every process that torchrun starts has to make the same evaluator."
            ) from None
        except (AuthenticationError, OSError, EOFError):
            continue  # a stranger; whoever else wants something still comes
    return channels
