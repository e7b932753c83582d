"""XYZ files, followed frame by frame before they are read: a reader that stops early would not notice."""

from __future__ import annotations

import logging
import re

import numpy as np

from halocline.errors import StructureError

_LOG = logging.getLogger(__name__)
_PROPERTIES = re.compile(rb"""(?:^|\s)Properties=["'{]?([^\s"'}]+)""")
_PLAIN_COLUMNS = 4
_CELL_VECTORS = 3


def check_frames(data: bytes, name: str) -> None:
    r"""Refuse a file whose frames are not what their first lines say.

    Args:
        data: the text; ``\n`` ends a line.
        name: of the file, for messages.

    Raises:
        StructureError: it ends within a line or a frame, something stands between frames, or atoms have more
            columns than are declared.
    """
    if data and not data.endswith(b"\n"):
        raise StructureError(
            f"{name} ends within a line, so it was probably cut short; if not, end it with a newline."
        )
    lines = _Lines(data)
    start, undeclared = 0, 0
    while start < lines.count and (start == 0 or lines[start].strip()):
        atoms = _count(lines[start], start, name)
        following = lines.count - start - 2
        if atoms > following:
            raise StructureError(
                f"{name} is cut short: the frame at line {start + 1} should have {atoms} atoms, but "
                f"{max(0, following)} follow; copy it again."
            )
        if atoms:
            undeclared = max(undeclared, _undeclared_columns(lines, start, name))
        start += 2 + atoms
        for _ in range(_CELL_VECTORS):
            start += start < lines.count and lines[start].lstrip().startswith(b"VEC")
    rest = next((line for line in range(start, lines.count) if lines[line].strip()), None)
    if rest is not None:
        raise StructureError(
            f"Line {rest + 1} of {name} follows an empty line, where readers stop; remove such lines."
        )
    if undeclared:
        _LOG.warning("%s has %d columns that no Properties declare; they are not read.", name, undeclared)


class _Lines:
    """Lines by number, without a copy of each."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n"))
        self.count = len(self._ends)

    def __getitem__(self, number: int) -> bytes:
        begin = int(self._ends[number - 1]) + 1 if number else 0
        return self._data[begin : int(self._ends[number])]


def _count(line: bytes, number: int, name: str) -> int:
    if not re.fullmatch(rb"\s*\d{1,18}\s*", line):
        shown = line[:40].decode(errors="replace")
        raise StructureError(f"Line {number + 1} of {name} should be a number of atoms: {shown!r}.")
    return int(line)


def _undeclared_columns(lines: _Lines, start: int, name: str) -> int:
    """How many columns of a plain XYZ frame nobody reads; refuse more than `Properties` declares."""
    comment, found = lines[start + 1], len(lines[start + 2].split())
    declared = _PROPERTIES.search(comment)
    if declared is None:
        return max(0, found - _PLAIN_COLUMNS)
    columns = sum(int(count) for count in declared.group(1).split(b":")[2::3] if count.isdigit())
    if found > columns:
        raise StructureError(
            f"Line {start + 3} of {name} has {found} columns, but Properties declares {columns}; correct either."
        )
    return 0
