"""Ranks as processes that torchrun has started, on one node or on many."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from datetime import timedelta
from multiprocessing import AuthenticationError
from typing import Final

# Exported, but not in its types.
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]

from halocline.backends.ddp.channel import Channel, authenticated
from halocline.backends.ddp.messages import Hello, hello
from halocline.backends.ddp.place import Place
from halocline.backends.ddp.rank import end_process
from halocline.backends.ddp.service import serve
from halocline.errors import DistributedError, UsageError

#: Seconds within which all processes have to ask for the evaluator: they may load something large before.
GATHERING: Final = 300.0


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
    store = _meeting_point()
    if store.add("evaluators", 1) > 1:
        raise UsageError(
            "The processes of torchrun serve one evaluator and end with it; this is the second one. "
            "Make one calculator and use it for everything."
        )
    one_node = place.local_ranks == place.ranks
    with socket.create_server(("127.0.0.1" if one_node else "", 0), backlog=place.ranks) as server:
        key, port = secrets.token_bytes(32), server.getsockname()[1]
        host = "127.0.0.1" if one_node else os.environ["MASTER_ADDR"]
        store.set("driver", f"{host} {port} {key.hex()}")
        thread = threading.Thread(
            target=_serve_beside,
            args=(port, key, hello(place.rank, digest), place, timeout),
            name="halocline-rank-0",
            daemon=True,
        )
        thread.start()
        return _accept_all(server, key, place.ranks, timeout), thread


def serve_driver(place: Place, digest: str, timeout: float) -> None:
    """Be one of the other ranks, until the driver has finished.

    Raises:
        DistributedError: there is no driver.
    """
    try:
        host, port, key = _meeting_point().get("driver").decode().split()
        sock = socket.create_connection((host, int(port)), GATHERING)
        sock.settimeout(None)
        channel = authenticated(sock, bytes.fromhex(key), timeout, accepted=False)
    except (RuntimeError, OSError, EOFError, AuthenticationError) as error:
        raise DistributedError(f"Rank {place.rank} did not find the driver in rank 0: {error}") from error
    serve(channel, hello(place.rank, digest), place, timeout, abandon=end_process)
    channel.close()


def _meeting_point() -> Store:
    """The store that torchrun, or else rank 0, keeps for all processes."""
    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=GATHERING)))
    except (RuntimeError, ValueError) as error:
        raise DistributedError(f"The processes that torchrun started did not meet: {error}") from error
    return PrefixStore("halocline", store)


def _serve_beside(port: int, key: bytes, greeting: Hello, place: Place, timeout: float) -> None:
    channel = authenticated(socket.create_connection(("127.0.0.1", port)), key, timeout, accepted=False)
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
