"""A web server on this machine that sends any bytes whatever, in any pieces."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator

#: What is sent for a request, which is given with its header; an endless one ends when the client has left.
Script = Callable[[bytes], Iterable[bytes]]


class OddServer:
    """Answers each connection with the script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, path: str = "file") -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/{path}"

    def close(self) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._answer, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            header = b""
            while b"\r\n\r\n" not in header and (data := connection.recv(65536)):
                header += data
            self.requests.append(header)
            for piece in self.script(header):
                if self._closing.is_set():
                    return
                connection.sendall(piece)


@contextlib.contextmanager
def odd_server(script: Script) -> Iterator[OddServer]:
    """Run a server while the block runs."""
    server = OddServer(script)
    try:
        yield server
    finally:
        server.close()


def dripping(data: bytes, pause: float = 0.01) -> Iterator[bytes]:
    """Byte by byte, slowly, and from the beginning again for ever."""
    while True:
        for byte in data:
            yield bytes([byte])
            time.sleep(pause)


def silence(before: bytes) -> Iterator[bytes]:
    """Something, and then nothing, while the connection stays open."""
    yield before
    while True:
        time.sleep(0.01)
        yield b""
