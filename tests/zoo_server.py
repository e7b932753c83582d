"""A web server on this machine that serves a model in every way in which a transfer can go wrong."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from zoo_models import CONTENT

HALF = len(CONTENT) // 2


class Server(ThreadingHTTPServer):
    """Remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []  # the header Range of every request
        self.redirect = ""
        self.files: dict[str, bytes] = {}  # further files by path
        self.cut: set[str] = set()  # paths whose transfer breaks off in its middle, once
        self.half_sent = threading.Event()
        self.go_on = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


@contextmanager
def serve() -> Iterator[Server]:
    """Run a server while the block runs."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One method for each path."""

    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        if self.path in self.server.files:
            self.serve_file(self.server.files[self.path])
        else:
            getattr(self, "serve_" + self.path.strip("/").replace("-", "_"))()

    def log_message(self, *_: object) -> None:
        """Tests must not print."""

    @property
    def first(self) -> bool:
        return len(self.server.ranges) == 1

    def answer(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        """Send an answer; a length of -1 is not announced."""
        self.send_response(status)
        for name, value in {"ETag": '"1"', **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        if length != -1:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def rest(self, etag: str = '"1"', content: bytes = CONTENT) -> None:
        """Behave as a good server does."""
        if self.headers["Range"] and self.headers["If-Range"] == etag:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            content_range = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(content[start:], 206, ETag=etag, Content_Range=content_range)
        else:
            self.answer(content, ETag=etag)

    def serve_file(self, content: bytes) -> None:
        if self.path in self.server.cut:
            self.server.cut.remove(self.path)
            self.answer(content[: len(content) // 2], length=len(content))
        else:
            self.rest(content=content)

    def serve_good(self) -> None:
        self.rest()

    def serve_slow(self) -> None:
        """Send half, and the rest when told; the client may be gone by then."""
        if not self.first:
            return self.rest()
        self.answer(CONTENT[:HALF], length=len(CONTENT))
        self.wfile.flush()
        self.server.half_sent.set()
        self.server.go_on.wait(60)
        try:
            self.wfile.write(CONTENT[HALF:])
        except ConnectionError:
            self.close_connection = True

    def serve_cut_once(self) -> None:
        self.answer(CONTENT[:HALF], length=len(CONTENT)) if self.first else self.rest()

    def serve_cut_unannounced(self) -> None:
        self.answer(CONTENT[:HALF], length=-1)

    def serve_ignores_range(self) -> None:
        self.answer(CONTENT[:HALF], length=len(CONTENT)) if self.first else self.answer(CONTENT)

    def serve_changed(self) -> None:
        self.answer(b"?" * HALF, length=len(CONTENT)) if self.first else self.rest('"2"')

    def serve_no_validator(self) -> None:
        self.answer(CONTENT[:HALF], length=len(CONTENT), ETag='W/"1"') if self.first else self.rest()

    def serve_wrong_range(self) -> None:
        if self.first:
            self.answer(CONTENT[:HALF], length=len(CONTENT))
        else:
            content_range = f"bytes 0-{HALF - 1}/{len(CONTENT)}"
            self.answer(CONTENT[:HALF], 206, Content_Range=content_range)

    def serve_corrupt(self) -> None:
        self.answer(CONTENT[:-1] + b"?")

    def serve_short(self) -> None:
        self.answer(CONTENT[:HALF])

    def serve_long(self) -> None:
        self.answer(CONTENT + b"?")

    def serve_long_unannounced(self) -> None:
        self.answer(CONTENT + b"?", length=-1)

    def serve_html(self) -> None:
        self.answer(b"<html>Log in</html>", Content_Type="text/html; charset=utf-8")

    def serve_compressed(self) -> None:
        self.answer(CONTENT, Content_Encoding="gzip")

    def serve_missing(self) -> None:
        self.answer(b"", 404)

    def serve_forbidden(self) -> None:
        self.answer(b"", 403)

    def serve_broken(self) -> None:
        self.answer(b"", 500)

    def serve_redirect(self) -> None:
        self.answer(b"", 302, Location=self.server.redirect)

    def serve_loop(self) -> None:
        self.answer(b"", 302, Location="/loop")
