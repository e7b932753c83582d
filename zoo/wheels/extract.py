"""One file out of a wheel, which is a zip archive that may be damaged or hostile."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from halocline.errors import ZooError
from halocline.zoo.download import ByteCounter
from halocline.zoo.entry import Pinned
from halocline.zoo.wheels.ranges import RangedFile

#: What `zipfile` raises at archives that are none, damaged, encrypted, or compressed in ways it does not know.
_FAULTS: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError,
    OverflowError, OSError,
)  # fmt: skip

#: Bytes that are fetched with the data of a file for what is before it: a header of 30, its name and its fields.
#: These may be longer, and are then fetched when they are read.
_BEFORE: Final = 2**12
_CHUNK: Final = 2**18


def extract(pinned: Pinned, member: str, file: IO[bytes], where: str, target: Path, progress: ByteCounter) -> None:
    """Write a file of an archive, and never more than belongs there; its digest is still to be checked.

    Args:
        pinned: says how long it must be.
        member: its path in the archive.
        file: the archive.
        where: the archive, in words.
        target: what is written.
        progress: told of every piece that was fetched for it.

    Raises:
        ZooError: it is not there or has another size, or the archive cannot be read.
        OSError: the target cannot be written.
    """
    with _reading(where):
        archive = zipfile.ZipFile(file)
    with archive:
        with _reading(where):
            stream = archive.open(_info(pinned, member, archive, where, file, progress))
        with stream, target.open("wb") as result:
            left = pinned.size
            while piece := _read(stream, min(_CHUNK, left), where):
                result.write(piece)
                left -= len(piece)


def _info(
    pinned: Pinned, member: str, archive: zipfile.ZipFile, where: str, file: IO[bytes], progress: ByteCounter
) -> zipfile.ZipInfo:
    """The place of the file, which is fetched if it is not here yet."""
    if member not in archive.NameToInfo:
        raise ZooError(
            f"There is no file {member} in {where}; a newer Halocline may know where {pinned.name} went."
        )
    info = archive.getinfo(member)
    if info.file_size != pinned.size:
        raise ZooError(
            f"{member} in {where} was not taken: it has {info.file_size} bytes, {pinned.name} has {pinned.size}."
        )
    if isinstance(file, RangedFile):
        start = info.header_offset
        file.load(start, start + _BEFORE + info.compress_size, progress)
    return info


def _read(stream: IO[bytes], most: int, where: str) -> bytes:
    with _reading(where):
        return stream.read(most)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        raise ZooError(f"{where} is no wheel that can be read: {error or type(error).__name__}.") from error
