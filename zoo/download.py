"""Bring a remote file onto this machine: resumable, and checked before it gets its final name."""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from halocline.errors import ZooError
from halocline.files import write_atomically
from halocline.ownership import is_own_plain, open_plain
from halocline.zoo.entry import Pinned
from halocline.zoo.transport import Response, request

#: Called with the number of bytes that came in since the last call.
Progress = Callable[[int], None]

#: Permissions of models in the cache, within the umask: they may be copied for others, and hold no code.
MODEL_MODE = 0o644

_CHUNK = 2**18
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PARTIAL = 206


def download(pinned: Pinned, url: str, part: Path, progress: Progress) -> None:
    """Complete a partial file from a URL.

    What is there already is kept if the server still has the same file: it says so by a validator (an ETag or a
    date), which lies beside the partial file.

    Args:
        pinned: says how long the file must become.
        url: where it comes from.
        part: the partial file; it stays when the transfer breaks off.
        progress: told of every piece.

    Raises:
        ZooError: the transfer broke off, or what comes is not the file.
        OSError: the partial file cannot be written.
    """
    validator = validator_path(part)
    held = _resumable_size(part, validator, pinned.size)
    with request(url, _headers(held, validator)) as response:
        resumed = response.status == _PARTIAL
        start = held if resumed else 0
        _check_response(pinned, url, response, start)
        if not resumed:
            part.unlink(missing_ok=True)
            write_atomically(validator, _validator_of(response).encode("ascii", "ignore"))
        progress(start)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with os.fdopen(open_plain(part, flags, MODEL_MODE), "ab") as file:
            _copy(pinned, url, response, file, progress)


def validator_path(part: Path) -> Path:
    """Where the validator of a partial file lies."""
    return part.with_suffix(".validator")


def _resumable_size(part: Path, validator: Path, size: int) -> int:
    """How much of the partial file can be kept; nothing unless the server can be asked whether it is the same."""
    for path in (part, validator):
        if not is_own_plain(path):  # a link, say, or another name of a file that is no part of a model
            path.unlink(missing_ok=True)
            return 0
    if not validator.read_text(encoding="ascii"):
        return 0
    held = part.stat().st_size
    return held if held < size else 0


def _headers(held: int, validator: Path) -> dict[str, str]:
    headers = {"User-Agent": "halocline", "Accept-Encoding": "identity"}
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": validator.read_text(encoding="ascii")}
    return headers


def _validator_of(response: Response) -> str:
    """Only strong ones compare bytes (RFC 9110, section 8.8.1)."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') and tag.isascii() else response.headers.get("Last-Modified", "")


def _check_response(pinned: Pinned, url: str, response: Response, start: int) -> None:
    if response.headers.get_content_type() == "text/html":
        raise ZooError(f"{url} was answered with a web page (HTML), not with the file of {pinned.name}.")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ZooError(f"{url} was answered in compressed form, which was not asked for.")
    if response.status == _PARTIAL:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found or [int(value) for value in found.groups()] != [start, pinned.size - 1, pinned.size]:
            raise ZooError(f"{url} was answered with another range than the missing {pinned.size - start} bytes.")
    length = response.headers.get("Content-Length")
    if length is not None and length != str(pinned.size - start):
        raise ZooError(f"{url} has the wrong size: {length} bytes were offered, {pinned.size - start} expected.")


def _copy(pinned: Pinned, url: str, response: Response, file: BinaryIO, progress: Progress) -> None:
    """Append what comes, and never more than belongs there."""
    while file.tell() <= pinned.size:
        try:
            chunk = response.read(min(_CHUNK, pinned.size + 1 - file.tell()))
        except (OSError, http.client.HTTPException) as error:
            raise _cut(pinned, url, file.tell()) from error
        if not chunk:
            break
        file.write(chunk)
        progress(len(chunk))
    if file.tell() > pinned.size:
        file.truncate(0)
        raise ZooError(f"{url} has the wrong size: more came than the {pinned.size} bytes of {pinned.name}.")
    if file.tell() < pinned.size:
        raise _cut(pinned, url, file.tell())


def _cut(pinned: Pinned, url: str, held: int) -> ZooError:
    return ZooError(
        f"The connection to {url} ended after {held} of {pinned.size} bytes; "
        f"go on with: halocline zoo pull {pinned.name}"
    )
