"""A file of a wheel, from wherever the wheel is, by as few bytes as its server allows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from halocline.errors import ZooError
from halocline.files import temporary_folder
from halocline.zoo.download import ByteCounter
from halocline.zoo.entry import Pinned
from halocline.zoo.source import Wheel
from halocline.zoo.wheels import pip, simple
from halocline.zoo.wheels.extract import extract
from halocline.zoo.wheels.offer import Offer
from halocline.zoo.wheels.ranges import RangedFile

#: Bytes that may be read of a wheel beside its file: lists of wheels with a hundred thousand files are shorter.
_BESIDE: Final = 2**24

_logger = logging.getLogger(__name__)


def take_member(pinned: Pinned, wheel: Wheel, target: Path, part: Path, progress: ByteCounter) -> str:
    """Write the file of a wheel; its digest is still to be checked.

    Args:
        pinned: the file.
        wheel: where it is.
        target: what is written.
        part: what came of a wheel that is fetched as a whole, if the transfer breaks off.
        progress: told of every piece; in the end of as many bytes as the file has.

    Returns:
        The wheel, in words.

    Raises:
        ZooError: there is no such wheel or no such file in it, or it cannot be fetched.
        OSError: the target cannot be written.
    """
    count = _Count(progress, pinned.size)
    with temporary_folder(part.parent) as folder, _opened(pinned, wheel, folder, part) as (file, where):
        extract(pinned, wheel.member, file, where, target, count)
    count.finish()
    return where


@contextmanager
def _opened(pinned: Pinned, wheel: Wheel, folder: Path, part: Path) -> Iterator[tuple[IO[bytes], str]]:
    """The wheel: that of the user, or of an index; there by parts if that can be, else as a whole."""
    if wheel.file is not None:
        with _open(wheel.file) as file:
            yield file, str(wheel.file)
        return
    offer = pip.find(wheel, folder) if wheel.index is None else simple.find(pinned, wheel, part)
    ranged: Any = None if offer.path else _ranged(pinned, offer)
    if ranged is not None:
        yield ranged, offer.name
        return
    with _open(offer.path or offer.bring(folder)) as file:
        yield file, offer.name


def _ranged(pinned: Pinned, offer: Offer) -> RangedFile | None:
    """The wheel by parts. What else than parts is wrong, whoever fetches the whole will meet again."""
    try:
        return RangedFile(offer.url, offer.login, pinned.size + _BESIDE)
    except ZooError as error:
        _logger.info("%s is fetched as a whole: %s", offer.name, error)
        return None


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise ZooError(f"Cannot read {path}: {error.strerror}.") from error


class _Count:
    """Tells of the bytes of a file as if it were fetched as it is: compressed it is shorter, in a wheel longer."""

    def __init__(self, progress: ByteCounter, size: int) -> None:
        self._progress, self._left = progress, size

    def __call__(self, count: int) -> None:
        count = min(count, self._left)
        self._left -= count
        self._progress(count)

    def finish(self) -> None:
        self(self._left)
