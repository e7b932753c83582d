"""One end of the line between the driver and a rank, on which no call waits for ever."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any, Final, final

from halocline.backends.ddp.messages import Signal
from halocline.backends.ddp.wire import decode, encode

#: Each side lets the other hear from it this many times within the time after which silence counts as death.
BEATS: Final = 4

#: Pieces that are sent at once; the system takes no more than 1024 (``IOV_MAX``).
_AT_ONCE: Final = 1000


@final
class Channel:
    """Sends and receives messages.

    Args:
        sock: connected to the other end; this object takes it over.
        timeout: seconds after which a peer that takes or sends nothing of a message makes the call fail.
        takes: classes of the messages that may come.
    """

    def __init__(self, sock: socket.socket, timeout: float, takes: Sequence[type]) -> None:
        self._sock, self._takes = sock, takes
        self._sending = threading.Lock()
        limit(sock, timeout)

    def fileno(self) -> int:
        """The descriptor to wait for.

        Raises:
            OSError: this side has hung up.
        """
        if (descriptor := self._sock.fileno()) < 0:
            raise OSError("the line is closed")
        return descriptor

    def send(self, message: object) -> None:
        """Send one message.

        Raises:
            OSError: the other end is gone, or does not take it in time (BlockingIOError).
        """
        pieces = encode(message)
        with self._sending:
            self._send(pieces)

    def beat(self) -> None:
        """Say that this side is alive, unless a message that says so is just being sent.

        Raises:
            OSError: as for `send`.
        """
        if self._sending.acquire(blocking=False):
            try:
                self._send(encode(Signal.BEAT))
            finally:
                self._sending.release()

    def ready(self, seconds: float) -> bool:
        """Wait until there is a message, or the end of the line."""
        waiting = select.poll()
        waiting.register(self, select.POLLIN)
        return bool(waiting.poll(seconds * 1000.0))

    def receive(self) -> Any:
        """Take one message.

        Raises:
            EOFError: the other end is gone.
            OSError: likewise, or it does not send the rest in time (BlockingIOError).
            ForeignMessageError: what arrived is no message that may come.
            DistributedError: there is no room for it.
        """
        return decode(self._takes, self._fill)

    def close(self) -> None:
        """Close the connection; the other end sees that nobody is there any more."""
        with self._sending:  # or another thread could write to what gets the number of this descriptor next
            self._sock.close()

    def _send(self, pieces: list[memoryview]) -> None:
        while pieces:
            sent = self._sock.sendmsg(pieces[:_AT_ONCE], (), socket.MSG_NOSIGNAL)
            while pieces and sent >= len(pieces[0]):
                sent -= len(pieces.pop(0))
            if sent:
                pieces[0] = pieces[0][sent:]

    def _fill(self, buffer: memoryview) -> None:
        while len(buffer):
            taken = self._sock.recv_into(buffer)
            if taken == 0:
                raise EOFError
            buffer = buffer[taken:]


def limit(sock: socket.socket, seconds: float) -> None:
    """Let the system end reads and writes that make no progress; it does so for all users of the socket."""
    interval = struct.pack("ll", int(seconds), int(seconds % 1.0 * 1e6))
    sock.setblocking(True)  # the program may have set a default timeout for sockets, which unblocks them
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, interval)
