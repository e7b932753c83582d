"""XYZ text taken apart frame by frame before it is read: a reader that stops early would not notice."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator
from itertools import islice

from halocline.errors import StructureError

_LOG = logging.getLogger(__name__)
_PROPERTIES = re.compile(rb"""(?:^|\s)Properties=["'{]?([^\s"'}]+)""")
_PLAIN_COLUMNS = 4
_CELL_VECTORS = 3
#: Bytes that one frame may have.
LONGEST_FRAME = 2 << 30
#: Lines that are taken at once of a frame, whatever number of atoms it states.
_AT_ONCE = 1 << 16


def split_frames(pieces: Iterator[bytes], name: str) -> Generator[bytes | StructureError]:
    r"""Take text apart into its frames, as they are needed.

    Args:
        pieces: of the text, in which ``\n`` alone ends a line; they end where lines end.
        name: of the file, for messages.

    Yields:
        The text of a frame; or, where its atoms have more columns than are declared, what is wrong with it.

    Raises:
        StructureError: the text is empty, ends within a line or a frame, or something stands between frames, so
            that what is behind cannot be told apart.
    """
    lines = _Lines(pieces, name)
    begun, warned = False, False
    while (first := lines.take(1)) and (first[0].strip() or not begun):
        start = lines.number
        if not first[0].strip() and lines.next_full() is None:
            break
        atoms = _count(first[0], start, name)
        begun = True
        frame = lines.take(1 + atoms)
        if len(frame) <= atoms or not frame[-1].endswith(b"\n"):
            raise _cut_short(first + frame, start, atoms, name)
        frame += lines.take_vectors()
        try:
            undeclared = _undeclared_columns(frame, start, name) if atoms else 0
        except StructureError as error:
            yield error
            continue
        if undeclared and not warned:
            _LOG.warning("%s has %d columns that no Properties declare; they are not read.", name, undeclared)
            warned = True
        yield b"".join(first + frame)
    if not begun:
        raise StructureError(f"{name} is empty.")
    if (rest := lines.next_full()) is not None:
        raise StructureError(
            f"Line {rest} of {name} follows an empty line, where readers stop; remove such lines."
        )


class _Lines:
    """The lines of a text.

    Attributes:
        number: of the line that was taken last, from 1.
    """

    def __init__(self, pieces: Iterator[bytes], name: str) -> None:
        self._lines = (line for piece in pieces for line in piece.splitlines(keepends=True))
        self._ahead: list[bytes] = []
        self._name = name
        self.number = 0

    def take(self, count: int) -> list[bytes]:
        """The next lines, fewer if the text ends."""
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        size = 0
        while (missing := count - len(taken)) and (more := list(islice(self._lines, min(missing, _AT_ONCE)))):
            taken += more
            size += sum(map(len, more))
            if size > LONGEST_FRAME:
                raise StructureError(
                    f"The frame at line {self.number} of {self._name} goes on beyond {LONGEST_FRAME >> 20} MB."
                )
        self.number += len(taken)
        return taken

    def take_vectors(self) -> list[bytes]:
        """The lines of cell vectors that may follow the atoms."""
        taken: list[bytes] = []
        while len(taken) < _CELL_VECTORS and (line := self.take(1)):
            if not line[0].lstrip().startswith(b"VEC"):
                self._ahead = line
                self.number -= 1
                break
            taken += line
        return taken

    def next_full(self) -> int | None:
        """The number of the next line that is not empty; None if there is none."""
        while line := self.take(1):
            if line[0].strip():
                return self.number
        return None


def _cut_short(frame: list[bytes], start: int, atoms: int, name: str) -> StructureError:
    if not frame[-1].endswith(b"\n"):
        return StructureError(
            f"{name} ends within a line, so it was probably cut short; if not, end it with a newline."
        )
    return StructureError(
        f"{name} is cut short: the frame at line {start} should have {atoms} atoms, but "
        f"{max(0, len(frame) - 2)} follow; copy it again."
    )


def _count(line: bytes, number: int, name: str) -> int:
    if not line.endswith(b"\n"):
        raise _cut_short([line], number, 0, name)
    if not re.fullmatch(rb"\s*\d{1,18}\s*", line):
        shown = line[:40].decode(errors="replace").rstrip("\n")
        raise StructureError(f"Line {number} of {name} should be a number of atoms: {shown!r}.")
    return int(line)


def _undeclared_columns(frame: list[bytes], start: int, name: str) -> int:
    """How many columns of a plain XYZ frame nobody reads; refuse more than `Properties` declares.

    Args:
        frame: its lines behind the number of atoms.
        start: number of the line with that number.
        name: of the file.
    """
    comment, found = frame[0], len(frame[1].split())
    declared = _PROPERTIES.search(comment)
    if declared is None:
        return max(0, found - _PLAIN_COLUMNS)
    columns = sum(int(count) for count in declared.group(1).split(b":")[2::3] if count.isdigit())
    if found > columns:
        raise StructureError(
            f"Line {start + 2} of {name} has {found} columns, but Properties declares {columns}; correct either."
        )
    return 0
