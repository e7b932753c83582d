"""A file behind a URL, of which only those parts are fetched that are read (RFC 9110, section 14)."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any, Final, final

from halocline.errors import ZooError
from halocline.zoo.download import HEADERS, ByteCounter
from halocline.zoo.transport import PARTIAL, request

#: Bytes at the end that are fetched first. The list of an archive is there, of a thousand files in as many bytes.
_TAIL: Final = 2**17

_RANGE: Final = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})", re.IGNORECASE)
_CHUNK: Final = 2**18


class NoRangesError(ZooError):
    """A server gives a file as a whole only."""


@final
class RangedFile(io.RawIOBase):
    """A file that is read from where one seeks, by few requests: what came once is kept in memory."""

    def __init__(self, url: str, login: Mapping[str, str], most: int) -> None:
        """Fetch the end.

        Args:
            url: of the file.
            login: a header for its host.
            most: bytes that may be fetched in all.

        Raises:
            NoRangesError: the server gives no parts.
            ZooError: it cannot be reached, or answers otherwise.
        """
        self._url, self._headers = url, {**HEADERS, **login}
        self._left = most
        self._position = 0
        self._parts: list[tuple[int, bytes]] = []
        self._size = self._fetch(f"bytes=-{_TAIL}", _TAIL, _unseen)

    def load(self, start: int, stop: int, progress: ByteCounter) -> None:
        """Fetch a part in one request, to be read later.

        Raises:
            ZooError: it does not come, or is more than may be fetched.
        """
        stop = min(stop, self._size)
        if start < stop and self._held(start, stop - start) is None:
            self._fetch(f"bytes={start}-{stop - 1}", stop - start, progress)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place that is read next."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place.

        Raises:
            ValueError: it lies before the beginning.
        """
        place = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset
        if place < 0:
            raise ValueError(f"a file has no place {place}")
        self._position = place
        return place

    def readinto(self, buffer: Any) -> int:
        """Fill all of a buffer, unless the file ends before."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        if count:
            self.load(self._position, self._position + count, _unseen)
            view[:count] = self._held(self._position, count) or b""
            self._position += count
        return count

    def _held(self, start: int, count: int) -> memoryview | None:
        for first, data in self._parts:
            if first <= start and start + count <= first + len(data):
                return memoryview(data)[start - first : start - first + count]
        return None

    def _fetch(self, wanted: str, count: int, progress: ByteCounter) -> int:
        """Keep a part of at most so many bytes; gives the size of the file."""
        if count > self._left:
            raise ZooError(f"{self._url} was not read further: more of it was wanted than its file can take.")
        with request(self._url, self._headers | {"Range": wanted}) as answer:
            stated = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if answer.status != PARTIAL or stated is None:
                raise NoRangesError(f"{self._url} is given as a whole only.")
            first, last, size = map(int, stated.groups())
            if not (first <= last < size and last - first < count):
                raise NoRangesError(f"{self._url} is given in other parts than were asked for.")
            data = bytearray()
            while len(data) <= last - first and (piece := answer.read(min(_CHUNK, last - first + 1 - len(data)))):
                data += piece
                progress(len(piece))
        if len(data) <= last - first:
            raise ZooError(f"The transfer from {self._url} ended too early; try again.")
        self._left -= len(data)
        self._parts.append((first, bytes(data)))
        return size


def _unseen(count: int) -> None:
    del count
