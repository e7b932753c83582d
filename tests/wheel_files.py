"""Wheels of one package, an index of them in a folder, and a server of files, for tests of the zoo."""

import base64
import contextlib
import hashlib
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from zoo_models import CONTENT

MEMBER = "halo_models/data/model.bin"
SOURCE = f"pypi:halo-models==1.2/{MEMBER}"
ANY = "py3-none-any"

#: Says who it is for to no Python that these tests run on.
ELSEWHERE = "cp312-cp312-win_amd64"


def write_wheel(
    folder: Path,
    tag: str = ANY,
    members: Mapping[str, bytes] | None = None,
    version: str = "1.2",
    how: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """A wheel with the model, beside bytes that nobody needs."""
    folder.mkdir(parents=True, exist_ok=True)
    about = f"halo_models-{version}.dist-info"
    path = folder / f"halo_models-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("halo_models/ballast.bin"), bytes(3_000_000))
        for name, content in ({MEMBER: CONTENT} if members is None else members).items():
            archive.writestr(name, content, how)
        archive.writestr("halo_models/__init__.py", "raise SystemExit('a wheel was run')\n")
        archive.writestr(
            f"{about}/METADATA",
            f"Metadata-Version: 2.1\nName: halo-models\nVersion: {version}\nRequires-Python: <3.0\n",
        )
        archive.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def write_page(*wheels: Path) -> str:
    """The page of the package in the folder of its wheels; gives the address of the index."""
    links = "".join(f'<a href="{wheel.name}">{wheel.name}</a>\n' for wheel in wheels)
    (wheels[0].parent / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return f"file://{wheels[0].parent.parent}"


class IndexServer(ThreadingHTTPServer):
    """Serves files, and remembers what it was asked: paths, ranges and logins."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.sent = 0
        self.has_ranges = True
        self.login = ""

    def index(self, login: str = "") -> str:
        return f"http://{login and login + '@'}127.0.0.1:{self.server_port}/simple"

    def offer(self, *wheels: Path) -> None:
        """Have a page with wheels."""
        digests = {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels}
        links = "".join(
            f'<a href="../../files/{name}#sha256={digest}">{name}</a>' for name, digest in digests.items()
        )
        self.files["/simple/halo-models/"] = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
        self.files |= {f"/files/{wheel.name}": wheel.read_bytes() for wheel in wheels}


class _Handler(BaseHTTPRequestHandler):
    server: IndexServer

    def do_GET(self) -> None:
        login = self.headers["Authorization"]
        self.server.asked.append((self.path, self.headers["Range"], login))
        wanted = "Basic " + base64.b64encode(self.server.login.encode()).decode()
        if self.server.login and login != wanted:
            self._answer(401, b"", {"WWW-Authenticate": "Basic"})
        elif self.path in self.server.moved:
            self._answer(302, b"", {"Location": self.server.moved[self.path]})
        elif self.path not in self.server.files:
            self._answer(404, b"")
        else:
            self._file(self.server.files[self.path])

    def _file(self, content: bytes) -> None:
        kind = "application/vnd.pypi.simple.v1+json" if content[:1] == b"{" else "application/octet-stream"
        kind = "text/html" if content[:1] == b"<" else kind
        said = self.headers["Range"]
        if not (said and self.server.has_ranges):
            self._answer(200, content, {"Content-Type": kind})
            return
        first, last = said.removeprefix("bytes=").split("-")
        start = int(first) if first else max(0, len(content) - int(last))
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        self._answer(206, content[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"ETag": '"1"', "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.server.sent += len(body)
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests must not print."""


@contextlib.contextmanager
def index_server() -> Iterator[IndexServer]:
    """Run a server while the block runs."""
    server = IndexServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
