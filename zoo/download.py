"""Bring a remote file onto this machine: resumable, and checked before it gets its final name."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

from halocline.errors import ZooError
from halocline.files import write_atomically
from halocline.ownership import is_own_plain, open_plain
from halocline.zoo.entry import Pinned
from halocline.zoo.transport import NOT_SATISFIABLE, PARTIAL, WHOLE, Answer, request, shown

#: Called with the number of bytes that came in since the last call.
ByteCounter = Callable[[int], None]

#: Permissions of models in the cache, within the umask: they may be copied for others, and hold no code.
MODEL_MODE = 0o644

#: Bytes of a file whose size the index does not know: ten times what any model here has.
LARGEST: Final = 2**30

#: Of every request.
HEADERS: Final = {"User-Agent": "halocline", "Accept-Encoding": "identity"}

#: A login of nobody.
NOBODY: Final[Mapping[str, str]] = MappingProxyType({})

_CHUNK = 2**18

#: What a server said of a file may be sent back to it: an ETag or a date is short, and a header has one line.
_LONGEST: Final = 1024
_VALIDATOR: Final = re.compile(rb"[ -~]{1,%d}" % _LONGEST)

_logger = logging.getLogger(__name__)


def download(
    pinned: Pinned, url: str, part: Path, progress: ByteCounter, login: Mapping[str, str] = NOBODY
) -> None:
    """Complete a partial file from a URL.

    What is there already is kept if the server still has the same file: it says so by a validator (an ETag or a
    date), which lies beside the partial file.

    Args:
        pinned: says how long the file must become.
        url: where it comes from.
        part: the partial file; it stays when the transfer breaks off.
        progress: told of every piece.
        login: a header for the host of the URL.

    Raises:
        ZooError: the transfer broke off or was too slow, or what comes is not the file.
        OSError: the partial file cannot be written.
    """
    validator = validator_path(part)
    with _ask(pinned, url, part, {**HEADERS, **login}) as (answer, start):
        if not start:
            part.unlink(missing_ok=True)
            write_atomically(validator, _validator_of(answer))
        progress(start)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with os.fdopen(open_plain(part, flags, MODEL_MODE), "ab") as file:
            _copy(pinned, url, answer, file, progress)


def offered_size(url: str, login: Mapping[str, str] = NOBODY) -> int:
    """How long a server says that a file is, in bytes; nothing of it is kept.

    Raises:
        ZooError: the server cannot be reached, does not say, or offers more than `LARGEST`.
    """
    with request(url, {**HEADERS, **login}) as answer:
        lengths = {length.strip() for length in answer.headers.get_all("Content-Length", [])}
        if answer.status != WHOLE or len(lengths) != 1 or not (length := lengths.pop()).isdecimal():
            raise ZooError(f"{url} was answered without the size of the file; fetch it by hand.")
    if not 0 < int(length) <= LARGEST:
        raise ZooError(f"{url} offers {shown(length)} bytes; a model has {LARGEST} at most.")
    return int(length)


def validator_path(part: Path) -> Path:
    """The path beside a partial file where its validator, which tells versions of it apart, is kept."""
    return part.with_suffix(".validator")


@contextmanager
def _ask(pinned: Pinned, url: str, part: Path, headers: dict[str, str]) -> Iterator[tuple[Answer, int]]:
    """Ask for what is missing, or for all if a server does not give that; with where the answer begins."""
    with ExitStack() as stack:
        held, said = _resumable(part, validator_path(part), pinned.size)
        if held:
            answer = stack.enter_context(request(url, headers | {"Range": f"bytes={held}-", "If-Range": said}))
            if answer.status not in (PARTIAL, NOT_SATISFIABLE):  # another file, or a server that knows no ranges
                held = 0
            elif not _is_rest(answer, held, pinned.size):
                _logger.warning("%s does not go on after %d bytes; it is fetched anew.", url, held)
                stack.close()
                held = 0
                answer = stack.enter_context(request(url, headers))
        else:
            answer = stack.enter_context(request(url, headers))
        _check_answer(pinned, url, answer, held)
        yield answer, held


def _resumable(part: Path, validator: Path, size: int) -> tuple[int, str]:
    """How much of the partial file can be kept, and by what the server is asked whether it is the same."""
    if not is_own_plain(part):  # a link, say, or another name of a file that is no part of a model
        part.unlink(missing_ok=True)
        return 0, ""
    said = _read_validator(validator)
    if not said:
        _logger.warning("Nothing says of which file %s is a part; it is fetched anew.", part)
    held = part.stat().st_size
    return (held, said) if said and held < size else (0, "")


def _read_validator(path: Path) -> str:
    """What a server said of the file; nothing if it said nothing, or that is damaged."""
    if not is_own_plain(path):
        path.unlink(missing_ok=True)
        return ""
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        data = file.read(_LONGEST + 1)
    return data.decode("ascii") if _VALIDATOR.fullmatch(data) else ""


def _validator_of(answer: Answer) -> bytes:
    """Only strong ones compare bytes (RFC 9110, section 8.8.1)."""
    tag: str = answer.headers.get("ETag", "")
    said = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
    data = said.encode("utf-8", "replace")
    return data if _VALIDATOR.fullmatch(data) else b""


def _is_rest(answer: Answer, held: int, size: int) -> bool:
    """Whether an answer is exactly what is missing."""
    said = answer.headers.get_all("Content-Range", [])
    return answer.status == PARTIAL and [each.lower() for each in said] == [f"bytes {held}-{size - 1}/{size}"]


def _check_answer(pinned: Pinned, url: str, answer: Answer, start: int) -> None:
    if not start and answer.status in (PARTIAL, NOT_SATISFIABLE):
        raise ZooError(f"{url} was answered with status {answer.status}, though all of it was asked for.")
    if answer.headers.get_content_type() == "text/html":
        raise ZooError(f"{url} was answered with a web page (HTML), not with the file of {pinned.name}.")
    if any(each.strip().lower() != "identity" for each in answer.headers.get_all("Content-Encoding", [])):
        raise ZooError(f"{url} was answered in compressed form, which was not asked for.")
    for length in answer.headers.get_all("Content-Length", []):
        if length.strip() != str(pinned.size - start):
            raise ZooError(
                f"{url} has the wrong size: {shown(length)} bytes were offered, {pinned.size - start} expected."
            )


def _copy(pinned: Pinned, url: str, answer: Answer, file: BinaryIO, progress: ByteCounter) -> None:
    """Append what comes, and never more than belongs there."""
    held = file.tell()
    while True:
        try:
            chunk = answer.read(min(_CHUNK, pinned.size + 1 - held))
        except ZooError as error:
            if held == pinned.size:  # all is there, and whatever else may have come does not matter
                break
            raise _cut(pinned, url, held, str(error)) from error
        if not chunk:
            break
        if held + len(chunk) > pinned.size:
            file.truncate(0)
            raise ZooError(f"{url} has the wrong size: more came than the {pinned.size} bytes of {pinned.name}.")
        file.write(chunk)
        held += len(chunk)
        progress(len(chunk))
    if held < pinned.size:
        raise _cut(pinned, url, held, "no more came")


def _cut(pinned: Pinned, url: str, held: int, reason: str) -> ZooError:
    return ZooError(
        f"The transfer from {url} ended after {held} of {pinned.size} bytes: {reason}. Go on with: "
        f"halocline zoo pull {pinned.name}; or, with a file from elsewhere, --from PATH"
    )
