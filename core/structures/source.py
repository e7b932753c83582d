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
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Any, cast

from halocline.errors import StructureError, UsageError

#: The file argument that stands for standard input.
STANDARD_INPUT = "-"
#: A compressed file may grow by this factor, and to this size in any case; text of atoms grows tenfold.
EXPANSION, SMALL = 50, 64 << 20
#: Bytes that are held of standard input, which says nothing of its length.
LONGEST_INPUT = 2 << 30

#: Bytes of one line of text.
LONGEST_LINE = 64 << 20

_BLOCK = 1 << 20
#: Endings of compressed files, and what opens them.
COMPRESSED: dict[str, Callable[[Path], Any]] = {
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
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SEPARATORS = ("\u2028".encode(), "\u2029".encode(), "\x85".encode())


def ending_of(source: str | Path) -> str:
    """What the name of a file ends in, from the last point on; capitals make no difference."""
    return Path(source).suffix.lower()


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


def blocks_of(source: str, *, endless: bool) -> Generator[bytes]:
    """Yield the content of a file block by block, expanded if its name says that it is compressed.

    Args:
        source: path of a file, or `STANDARD_INPUT`, from which blocks come as soon as they are there.
        endless: take any number of bytes from standard input, and not `LONGEST_INPUT` at most.

    Raises:
        StructureError: it expands beyond reason, or standard input does not end.
        UsageError: standard input is closed.
        OSError: it cannot be read.
    """
    if source == STANDARD_INPUT:
        message = "Standard input goes on beyond {} MB; write it to a file."
        yield from _bounded(_standard_input(), None if endless else LONGEST_INPUT, message)
        return
    path = Path(source)
    opener = COMPRESSED.get(ending_of(path))
    if opener is None:
        with path.open("rb") as stream:
            yield from _bounded(stream, None, "")
        return
    limit = max(SMALL, EXPANSION * path.stat().st_size)
    message = (
        f"{source} expands to more than {{}} MB, {EXPANSION} times its size; expand it yourself if it is right."
    )
    try:
        with opener(path) as stream:
            yield from _bounded(stream, limit, message)
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise StructureError(f"{source} is damaged or was cut off: {error}") from error


def text_of(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The same text as `cleaned` gives, in pieces that end where lines end; only the last may not.

    Args:
        blocks: of the file, from its begin on.
        name: of the file, for messages.

    Raises:
        StructureError: a line is longer than `LONGEST_LINE`.
    """
    rest = b""
    while len(rest) < len(codecs.BOM_UTF8) and (block := next(blocks, b"")):
        rest += block
    decoder = codecs.getincrementaldecoder("utf-16")("replace") if rest.startswith(_UTF_16) else None
    rest = _decoded(decoder, rest).removeprefix(codecs.BOM_UTF8)
    while True:
        end = max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, -1)) + 1  # the last sign may be half of CRLF
        if end:
            yield _plain_lines(rest[:end])
            rest = rest[end:]
        if len(rest) > LONGEST_LINE:
            raise StructureError(f"{name} has a line of more than {LONGEST_LINE >> 20} MB, so it is no such text.")
        if not (block := next(blocks, b"")):
            break
        rest += _decoded(decoder, block)
    if rest:
        yield _plain_lines(rest)


def cleaned(data: bytes) -> bytes:
    r"""Text as every reader understands it: UTF-8 without byte order mark, and ``\n`` alone ends a line."""
    if data.startswith(_UTF_16):
        data = data.decode("utf-16", errors="replace").encode()
    return _plain_lines(data.removeprefix(codecs.BOM_UTF8))


def _decoded(decoder: codecs.IncrementalDecoder | None, block: bytes) -> bytes:
    return block if decoder is None else decoder.decode(block).encode()


def _plain_lines(data: bytes) -> bytes:
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


def _bounded(stream: IO[bytes], limit: int | None, message: str) -> Generator[bytes]:
    read = getattr(stream, "read1", stream.read)  # which does not wait until a block is full
    taken = 0
    while block := read(_BLOCK):
        taken += len(block)
        if limit is not None and taken > limit:
            raise StructureError(message.format(limit >> 20))
        yield block
