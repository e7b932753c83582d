"""Ranks as processes that torchrun has started, on one node or on many."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from multiprocessing import AuthenticationError
from typing import Final

from halocline.backends.ddp.channel import Channel, authenticated
from halocline.backends.ddp.meeting import GATHERING, meeting_point
from halocline.backends.ddp.messages import Hello, hello
from halocline.backends.ddp.rank import end_process
from halocline.backends.ddp.service import serve
from halocline.errors import DistributedError, UsageError
from halocline.place import Place

#: Seconds after which a rank asks again where the driver is, if it was not where the store says.
AGAIN: Final = 0.2

#: Seconds for the driver to say what happened: torchrun ends it as soon as it sees another process fail.
LAST_WORDS: Final = 3.0

#: Set once this process has called the others together: they do not come a second time.
_called = threading.Event()


def gather(place: Place, digest: str, timeout: float) -> tuple[list[Channel], threading.Thread]:
    """Connect the driver, in rank 0, with all ranks; its own rank runs in a thread beside it.

    Args:
        place: of the driver.
        digest: of the model.
        timeout: seconds, of the evaluator.

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
    one_node = place.local_size == place.size
    with socket.create_server(("127.0.0.1" if one_node else "", 0), backlog=place.size) as server:
        key, port = secrets.token_bytes(32), server.getsockname()[1]
        host = "127.0.0.1" if one_node else os.environ["MASTER_ADDR"]
        meeting_point().set("driver", f"{host} {port} {key.hex()}")
        thread = threading.Thread(
            target=_serve_beside,
            args=(port, key, hello(place.rank, digest), place, timeout),
            name="halocline-rank-0",
            daemon=True,
        )
        thread.start()
        return _accept_all(server, key, place.size, timeout), thread


def serve_driver(place: Place, digest: str, timeout: float) -> None:
    """Be one of the other ranks, until the driver has finished.

    Raises:
        DistributedError: there is no driver, or no longer.
    """
    channel = _find_driver(place.rank, timeout)
    try:
        serve(channel, hello(place.rank, digest), place, timeout, abandon=_end_late)
    except DistributedError:
        time.sleep(LAST_WORDS)
        raise
    channel.close()


def _end_late() -> None:
    """End this process if it does not by itself, because it waits for a rank that is gone."""
    time.sleep(2.0 * LAST_WORDS)
    end_process()


def _find_driver(rank: int, timeout: float) -> Channel:
    """Connect to where the store says the driver is.

    That may be the driver before a restart, until the new one has written its own address.
    """
    until = time.monotonic() + GATHERING
    while True:
        try:
            host, port, key = meeting_point().get("driver").decode().split()
            sock = socket.create_connection((host, int(port)), timeout)
            sock.settimeout(None)
            return authenticated(sock, bytes.fromhex(key), timeout, accepted=False)
        except (RuntimeError, OSError, EOFError, AuthenticationError) as error:
            if time.monotonic() > until:
                raise DistributedError(f"Rank {rank} did not find the driver in rank 0: {error}") from error
        time.sleep(AGAIN)


def _serve_beside(port: int, key: bytes, greeting: Hello, place: Place, timeout: float) -> None:
    channel = authenticated(socket.create_connection(("127.0.0.1", port)), key, timeout, accepted=False)
    with contextlib.suppress(DistributedError):  # the driver, in this same process, says it itself
        serve(channel, greeting, place, timeout, abandon=lambda: None)
    channel.close()


def _accept_all(server: socket.socket, key: bytes, ranks: int, timeout: float) -> list[Channel]:
    channels: list[Channel] = []
    deadline = time.monotonic() + GATHERING
    while len(channels) < ranks:
        server.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            sock, _ = server.accept()
        except TimeoutError:
            raise DistributedError(
                f"Only {len(channels)} of {ranks} ranks came within {GATHERING:g} s; "
                "every process that torchrun starts has to make the same evaluator."
            ) from None
        sock.settimeout(None)
        try:
            channels.append(authenticated(sock, key, timeout, accepted=True))
        except (AuthenticationError, OSError, EOFError):
            continue  # a stranger; whoever else wants something still comes
    return channels
