"""How slow a server may be: each read waits no longer than until the next bytes are due.

The timeout of a socket alone says nothing of the whole: it begins anew with every byte.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.request
from typing import Any, Final, final

#: Seconds in which a server begins its answer, and then brings each next share of it. Longer silences are those of
#: connections that are dead.
PATIENCE: Final = 30.0

#: Bytes per second. Far below any line over which models are fetched, and far above a server that only holds on.
LEAST_RATE: Final = 10_000

#: Bytes that are due each time. The whole takes at most as long as it does at the least rate, and one PATIENCE.
SHARE: Final = round(LEAST_RATE * PATIENCE)


@final
class TooSlowError(TimeoutError):
    """A server brought less than was due."""


@final
class Pace:
    """Deadlines of a transfer: the header of an answer, and each share of a file."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start the clock of something new: the header of an answer, or the first share of a file."""
        self._begun = self._share_begun = time.monotonic()
        self._came = self._came_of_share = 0

    def left(self) -> float:
        """Seconds until what is due next.

        Raises:
            TooSlowError: it should be there.
        """
        left = self._share_begun + PATIENCE - time.monotonic()
        if left <= 0:
            raise TooSlowError(self._report())
        return left

    def arrived(self, count: int) -> None:
        """So many bytes of the file came in."""
        self._came += count
        self._came_of_share += count
        if self._came_of_share >= SHARE:
            self._came_of_share = 0
            self._share_begun = time.monotonic()

    def _report(self) -> str:
        spent = time.monotonic() - self._begun
        return (
            f"in {spent:.0f} s it brought {self._came} bytes, or {self._came / spent:.0f} per second; with less "
            f"than {LEAST_RATE} a server is taken for one that hangs"
        )


class PacedHandler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens http and https, and keeps a pace in whatever is read: headers, also of proxies, and bodies."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def do_open(self, http_class: Any, req: urllib.request.Request, **options: Any) -> http.client.HTTPResponse:
        """See `urllib.request.AbstractHTTPHandler.do_open`."""

        def connection(host: str, **more: Any) -> http.client.HTTPConnection:
            made: http.client.HTTPConnection = http_class(host, **more)
            made.response_class = self._response  # type: ignore[assignment]
            return made

        return super().do_open(connection, req, **options)

    def _response(self, sock: socket.socket, *arguments: Any, **options: Any) -> http.client.HTTPResponse:
        paced: Any = _PacedSocket(sock, self._pace)
        return http.client.HTTPResponse(paced, *arguments, **options)


@final
class _PacedSocket:
    """What an HTTPResponse needs of a socket."""

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._socket = sock
        self._pace = pace

    def makefile(self, mode: str) -> io.BufferedReader:
        """Open the socket for reading an answer, which is due from now on."""
        del mode
        self._pace.begin()
        return io.BufferedReader(_PacedReader(self._socket, self._pace))


@final
class _PacedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._pace.left())
        try:
            return self._raw.readinto(buffer)
        except TimeoutError:
            self._pace.left()  # says more
            raise

    def close(self) -> None:
        self._raw.close()
        super().close()
