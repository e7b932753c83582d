"""The bytes of a structure file: never more of them than memory can rightly be asked for."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import stat
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from halocline.errors import StructureError, UsageError

#: The file argument that stands for standard input.
STANDARD_INPUT = "-"
#: A compressed file may grow by this factor, and to this size in any case; text of atoms grows tenfold.
EXPANSION, SMALL = 50, 64 << 20
#: Bytes that are taken from standard input, which says nothing of its length.
LONGEST_INPUT = 2 << 30

_BLOCK = 1 << 20
_COMPRESSED: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
#: What to do instead, by kind.
_HINTS = {
    "a folder": "; name one of its files",
    "a pipe": "; pass what it yields to standard input, and - as the name",
}

#: Controls, and signs of Unicode in UTF-8, that only some readers take for ends of lines.
_CONTROLS = bytes.maketrans(b"\x0b\x0c\x1c\x1d\x1e", b"     ")
_SEPARATORS = ("\u2028".encode(), "\u2029".encode(), "\x85".encode())


def size_of(source: str) -> int:
    """Bytes of a regular file as it lies on the disk; of standard input, the most that are taken.

    Raises:
        StructureError: it is no regular file: what is read from a pipe or a device may never end.
        OSError: it is missing or may not be read.
    """
    if source == STANDARD_INPUT:
        return LONGEST_INPUT
    status = Path(source).stat()
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise StructureError(f"{source} is {kind}, not a file of structures{_HINTS.get(kind, '')}.")
    return status.st_size


def read_source(source: str) -> bytes:
    """Everything that a file holds, expanded if its name says that it is compressed.

    Raises:
        StructureError: it expands beyond reason, or standard input does not end.
        UsageError: standard input is closed.
        OSError: it cannot be read.
    """
    if source == STANDARD_INPUT:
        return _bounded(
            _standard_input(), LONGEST_INPUT, "Standard input goes on beyond {} MB; write it to a file."
        )
    path = Path(source)
    opener = _COMPRESSED.get(path.suffix)
    if opener is None:
        return path.read_bytes()
    limit = max(SMALL, EXPANSION * path.stat().st_size)
    message = (
        f"{source} expands to more than {{}} MB, {EXPANSION} times its size; expand it yourself if it is right."
    )
    try:
        with opener(path) as stream:
            return _bounded(stream, limit, message)
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise StructureError(f"{source} is damaged or was cut off: {error}") from error


def cleaned(data: bytes) -> bytes:
    r"""Text as every reader understands it: UTF-8 without byte order mark, and ``\n`` alone ends a line."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark):
            data = data.decode(encoding, errors="replace").encode()
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    data = data.translate(_CONTROLS)
    if not data.isascii():
        for separator in _SEPARATORS:
            data = data.replace(separator, b" ")
    return data


def _standard_input() -> IO[bytes]:
    stream = cast("IO[str] | None", sys.stdin)
    if stream is None or stream.closed:
        raise UsageError("Standard input is closed, so there is nothing to read for -; name a file.")
    return cast("IO[bytes]", getattr(stream, "buffer", None) or io.BytesIO(stream.read().encode()))


def _bounded(stream: IO[bytes], limit: int, message: str) -> bytes:
    data = bytearray()
    while block := stream.read(_BLOCK):
        data += block
        if len(data) > limit:
            raise StructureError(message.format(limit >> 20))
    return bytes(data)
