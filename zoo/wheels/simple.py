"""A package index without pip: its page of a package (PEP 503, or PEP 691 in JSON) lists all wheels."""

from __future__ import annotations

import base64
import functools
import html.parser
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from halocline.errors import ZooError
from halocline.zoo.download import HEADERS, NOBODY, download, offered_size, validator_path
from halocline.zoo.entry import Pinned
from halocline.zoo.source import Wheel, local, remote
from halocline.zoo.transport import CLOSED, LOGIN, StatusError, UnreachableError, origin, request
from halocline.zoo.wheels.offer import Offer, closed, missing, unreachable

_JSON: Final = "application/vnd.pypi.simple.v1+json"
_ACCEPT: Final = {"Accept": f"{_JSON}, text/html;q=0.1"}

#: Bytes of a page. Packages with ten thousand files have pages of 10 MB.
_LONGEST: Final = 2**25
_CHUNK: Final = 2**18


def find(pinned: Pinned, wheel: Wheel, part: Path) -> Offer:
    """Find a wheel of a version in ``wheel.index``: one for any Python if there is one, else the first by name.

    Args:
        pinned: the file in it.
        wheel: what is looked for.
        part: what came of the wheel, if it is fetched as a whole and the transfer breaks off.

    Raises:
        ZooError: the index cannot be read, or has none.
    """
    assert wheel.index is not None
    address, login = split_login(wheel.index)
    page = f"{address.rstrip('/')}/{_normalised(wheel.package)}/"
    links = _local_links(page) if page.startswith("file:") else _remote_links(page, address, login, wheel)
    found = {name: url for url in links if _is_of(wheel, name := unquote(urlsplit(url).path).rpartition("/")[2])}
    if not found:
        raise missing(wheel, address)
    url = found[min(found, key=lambda name: (not name.endswith("-none-any.whl"), name))]
    if not url.startswith("file:"):
        remote(url)
    login = login if origin(url) == origin(address) else NOBODY
    return Offer(url, login, functools.partial(_bring, pinned, url, login, part))


def split_login(index: str) -> tuple[str, Mapping[str, str]]:
    """The address of an index as it may be shown, and the login in it as a header.

    Raises:
        ZooError: it is no address of an index.
    """
    try:
        parts = urlsplit(index)
        user, _, host = parts.netloc.rpartition("@")
        address = urlunsplit(parts._replace(netloc=host, path=parts.path or "/"))
        local(index) if parts.scheme == "file" else remote(address)
    except (ValueError, ZooError) as error:
        raise ZooError(
            "The package index of --index must be https://HOST/PATH or file:/PATH, such as https://pypi.org/simple."
        ) from error
    return address, {LOGIN: f"Basic {base64.b64encode(unquote(user).encode()).decode()}"} if user else NOBODY


def _remote_links(page: str, address: str, login: Mapping[str, str], wheel: Wheel) -> list[str]:
    """The files of a package."""
    try:
        with request(page, {**HEADERS, **_ACCEPT, **login}) as answer:
            data = bytearray()
            while len(data) <= _LONGEST and (piece := answer.read(_CHUNK)):
                data += piece
            form, base = answer.headers.get_content_type(), answer.url
    except UnreachableError as error:
        raise unreachable(address, error.reason) from error
    except StatusError as error:
        if error.status in CLOSED:
            raise closed(address, error.status) from error
        if error.status == 404:
            raise missing(wheel, address) from error
        raise unreachable(address, f"status {error.status}") from error
    try:
        text = data.decode()
        return [urljoin(base, link) for link in (_of_json(text) if form == _JSON else _of_html(text))]
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{page} is no page of a package index; name another with --index URL.") from error


def _local_links(page: str) -> list[str]:
    """The files of a package in a folder: those of its page, or else those that are there."""
    folder = local(page).path
    base = f"file://{quote(str(folder))}/"
    try:
        if (folder / "index.html").is_file():
            return [urljoin(base, link) for link in _of_html((folder / "index.html").read_text(encoding="utf-8"))]
        return [base + quote(path.name) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    except (OSError, ValueError) as error:
        raise ZooError(f"{folder} is no page of a package index; name another with --index URL.") from error


def _of_json(text: str) -> Iterator[str]:
    page: Any = json.loads(text)
    files = page.get("files") if isinstance(page, dict) else None
    if not isinstance(files, list):
        raise ValueError("it lists no files")
    return (file["url"] for file in files if isinstance(file, dict) and isinstance(file.get("url"), str))


def _of_html(text: str) -> list[str]:
    links = _Links()
    links.feed(text)
    links.close()
    return links.found


@final
class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _is_of(wheel: Wheel, name: str) -> bool:
    """Whether a file is a wheel of the version, by its name (PEP 427)."""
    parts = name.removesuffix(".whl").split("-")
    return (
        name.endswith(".whl")
        and len(parts) in (5, 6)
        and _normalised(parts[0]) == _normalised(wheel.package)
        and parts[1] == wheel.version
    )


def _normalised(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _bring(pinned: Pinned, url: str, login: Mapping[str, str], part: Path, folder: Path) -> Path:
    """Fetch a whole wheel; what a broken transfer leaves is gone on from."""
    whole = folder / "whole.whl"
    size = offered_size(url, login)
    download(replace(pinned, size=size), url, part, lambda count: None, login)
    validator_path(part).unlink(missing_ok=True)
    return part.replace(whole)
