"""How ranks of torchrun come to the driver, and how either side knows the other."""

from __future__ import annotations

import os
import secrets
import socket
import struct
from abc import ABC, abstractmethod
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from types import TracebackType
from typing import Final, Self, final

from halocline.backends.ddp.channel import limit
from halocline.errors import UsageError

#: Seconds for a stranger to show that it is none; the others wait meanwhile.
PATIENCE: Final = 10.0

#: Process, user and group of a peer, as the system knows them (``man 7 unix``).
_CREDENTIALS: Final = struct.Struct("3i")


class Door(ABC):
    """Where the driver listens until all ranks have come.

    Attributes:
        address: for the ranks.
    """

    address: str
    _server: socket.socket

    def accept(self, seconds: float) -> socket.socket:
        """Let one in.

        Args:
            seconds: to wait for somebody.

        Raises:
            TimeoutError: nobody comes.
            AuthenticationError, OSError, EOFError: a stranger came.
        """
        self._server.settimeout(max(0.001, seconds))
        sock, _ = self._server.accept()
        try:
            self._know(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    @abstractmethod
    def _know(self, sock: socket.socket) -> None:
        """Raise an error unless a rank is at the other end."""


@final
class NodeDoor(Door):
    """A door for the ranks of one node: a Unix socket without a file. The system says who is at either end.

    There is no secret that others could read. Whoever tells ranks another address can keep them waiting, no more.
    """

    def __init__(self) -> None:
        if not hasattr(socket, "SO_PEERCRED"):
            raise UsageError("Ranks of one node can be joined on Linux only; compute with one process here.")
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.address = f"halocline-{secrets.token_hex(16)}"
        self._server.bind(_abstract(self.address))
        self._server.listen()

    def _know(self, sock: socket.socket) -> None:
        _require_own(sock)


@final
class NetworkDoor(Door):
    """A door for ranks on several nodes: TCP, to those that know a key.

    Args:
        host: under which ranks find this node.
        ranks: how many may come at the same time.
    """

    def __init__(self, host: str, ranks: int) -> None:
        self._key = secrets.token_bytes(32)
        self._server = socket.create_server(("", 0), backlog=ranks)
        self.address = f"{host} {self._server.getsockname()[1]} {self._key.hex()}"

    def _know(self, sock: socket.socket) -> None:
        _exchange_proofs(sock, self._key, accepted=True)


def knock(address: str, timeout: float, *, on_node: bool) -> socket.socket:
    """Come to the driver.

    Args:
        address: of its door.
        timeout: seconds, of the evaluator.
        on_node: whether all ranks are on one node.

    Raises:
        ValueError: that is no address.
        OSError, EOFError: nobody is there.
        AuthenticationError: somebody else is.
    """
    return _knock_on_node(address) if on_node else _knock_on_network(*address.split(), timeout=timeout)


def _knock_on_node(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(_abstract(address))
        _require_own(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _knock_on_network(host: str, port: str, key: str, *, timeout: float) -> socket.socket:
    sock = socket.create_connection((host, int(port)), timeout)
    try:
        _exchange_proofs(sock, bytes.fromhex(key), accepted=False)
    except BaseException:
        sock.close()
        raise
    return sock


def _abstract(address: str) -> bytes:
    """A name that is no file: nothing is left of it when its process is killed."""
    return b"\0" + address.encode()


def _require_own(sock: socket.socket) -> None:
    """Refuse processes of other users."""
    _, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if user != os.geteuid():
        raise AuthenticationError(f"a process of user {user} is at the other end")


def _exchange_proofs(sock: socket.socket, key: bytes, *, accepted: bool) -> None:
    """Have each side prove that it knows the key."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    limit(sock, PATIENCE)
    connection = Connection(os.dup(sock.fileno()))
    with connection:
        for step in (deliver_challenge, answer_challenge)[:: 1 if accepted else -1]:
            step(connection, key)
