"""One end of the line between the driver and a rank, on which no call waits for ever."""

from __future__ import annotations

import os
import socket
import struct
import threading
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any, Final, final

from halocline.backends.ddp.messages import Signal

#: Each side lets the other hear from it this many times within the time after which silence counts as death.
BEATS: Final = 4


@final
class Channel:
    """Sends and receives objects. Only what Halocline itself started or authenticated is at the other end.

    Args:
        connection: which this object takes over.
        timeout: seconds after which a peer that takes or sends nothing of a message makes the call fail.

    Attributes:
        connection: to wait for.
    """

    def __init__(self, connection: Connection, timeout: float) -> None:
        self.connection = connection
        self._sending = threading.Lock()
        _limit(connection.fileno(), timeout)

    def send(self, message: object) -> None:
        """Send one message.

        Raises:
            OSError: the other end is gone, or does not take it in time (BlockingIOError).
        """
        with self._sending:
            self.connection.send(message)

    def beat(self) -> None:
        """Say that this side is alive, unless a message that says so is just being sent.

        Raises:
            OSError: as for `send`.
        """
        if self._sending.acquire(blocking=False):
            try:
                self.connection.send(Signal.BEAT)
            finally:
                self._sending.release()

    def ready(self, seconds: float) -> bool:
        """Wait until there is a message, or the end of the line."""
        return self.connection.poll(seconds)

    def receive(self) -> Any:
        """Take one message.

        Raises:
            EOFError: the other end is gone.
            OSError: likewise, or it does not send the rest in time (BlockingIOError).
        """
        return self.connection.recv()

    def close(self) -> None:
        """Hang up."""
        with self._sending:  # or another thread could write to what gets the number of this descriptor next
            self.connection.close()


def authenticated(sock: socket.socket, key: bytes, timeout: float, *, accepted: bool) -> Channel:
    """Make a channel of a TCP connection once each side has proved that it knows the key.

    Args:
        sock: which the channel takes over.
        key: the secret.
        timeout: see `Channel`.
        accepted: whether this side is the one that listened.

    Raises:
        multiprocessing.AuthenticationError: the other side does not know the key.
        OSError, EOFError: it went away, or says nothing.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = Connection(sock.detach())
    channel = Channel(connection, timeout)
    try:
        for step in (deliver_challenge, answer_challenge)[:: 1 if accepted else -1]:
            step(connection, key)
    except BaseException:
        channel.close()
        raise
    return channel


def _limit(descriptor: int, seconds: float) -> None:
    """Let the system end reads and writes that make no progress; it does so for all users of the socket."""
    interval = struct.pack("ll", int(seconds), int(seconds % 1.0 * 1e6))
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        sock.setblocking(True)  # the program may have set a default timeout for sockets, which unblocks them
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, interval)
