"""What files of results say of each frame, by the ending of their names, and how they grow by whole batches."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, final

from halocline.appended import EMPTY, AppendedFile, last_intact
from halocline.errors import OutputError, UsageError
from halocline.evaluation.database import Database
from halocline.evaluation.numbers import COLUMNS, PER_ATOM, SPREAD_COLUMNS, with_results
from halocline.structures.constraints import warn_of_unwritable
from halocline.structures.write import EXTENSIONS, extended_xyz

if TYPE_CHECKING:
    from halocline.evaluation.frames import Frame

#: Voigt order of ASE, and the places of a tensor that it names.
_VOIGT: Final = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}


class Store(Protocol):
    """A file of results that is open; as a block, it is closed at the end."""

    def append(self, records: Sequence[Any]) -> None:
        """Write all of some records, or nothing of them.

        Raises:
            OutputError: the disk is full or the file cannot be written.
        """

    def sync(self) -> None:
        """Bring everything to the disk, where a power cut leaves it."""

    def mark(self) -> dict[str, Any]:
        """``length`` and ``sha256`` of what was written, in units of the form; `EMPTY` of nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Form(Protocol):
    """How frames are written, one after another."""

    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> Any:
        """What is written of a frame with the numbers of `numbers_of`."""

    def open(self, path: Path, mark: Mapping[str, Any]) -> Store:
        """Go on with a file from a mark; with `EMPTY`, a new one takes its place.

        Raises:
            OutputError: it is not what it was, or cannot be written.
        """

    def last_intact(self, path: Path, marks: Sequence[Mapping[str, Any]]) -> int | None:
        """The place of the last of several marks, ascending, up to which a file is what it was.

        Raises:
            OSError: it cannot be read.
        """

    def length(self, path: Path) -> int:
        """As marks count it; errors likewise."""


def form_of(path: Path, *, committee: bool = False) -> Form:
    """The form that the ending of a name asks for.

    Args:
        path: of the file.
        committee: whether the model is one, and its spread is told.

    Raises:
        UsageError: there is none for it, or the folder is missing.
    """
    if path.suffix not in FORMS:
        raise UsageError(
            f"--output {path} names no form of results; let its name end in .extxyz or .xyz for structures, in "
            ".db for a database of them, or in .csv or .jsonl for a line for each."
        )
    if not path.parent.is_dir():
        raise UsageError(f"The folder of --output {path} does not exist; make it first.")
    return FORMS[path.suffix](committee)


class TextForm(ABC):
    """Bytes that are appended, after those that a file begins with.

    Args:
        committee: whether the model is one.
    """

    def __init__(self, committee: bool) -> None:
        self._committee = committee

    def header(self) -> bytes:
        """What a file begins with; nothing by default."""
        return b""

    @abstractmethod
    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> bytes:
        """See `Form.record`."""

    def open(self, path: Path, mark: Mapping[str, Any]) -> Store:
        """See `Form.open`."""
        return _TextStore(AppendedFile(path, mark, error_class=OutputError), self.header())

    def last_intact(self, path: Path, marks: Sequence[Mapping[str, Any]]) -> int | None:
        """See `Form.last_intact`."""
        return last_intact(path, marks)

    def length(self, path: Path) -> int:
        """See `Form.length`: in bytes."""
        return path.stat().st_size


@final
class _TextStore:
    """See `Store`; every method raises what `AppendedFile` does."""

    def __init__(self, file: AppendedFile, header: bytes) -> None:
        self._file, self._header = file, header
        self.sync, self.mark = file.sync, file.mark

    def append(self, records: Sequence[bytes]) -> None:
        begin = self._header if self.mark() == EMPTY else b""
        self._file.append(b"".join((begin, *records)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)


@final
class ExtendedXYZ(TextForm):
    """Structures with results, in all digits; labels that they brought move to ``REF_`` names."""

    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> bytes:
        """See `Form.record`: the structure."""
        warn_of_unwritable(frame.atoms)
        return extended_xyz([with_results(frame, numbers)], exact=True)


@final
class CommaSeparated(TextForm):
    """A line of numbers for each frame, and a first one with their names and units."""

    def header(self) -> bytes:
        """The line with the names of the columns."""
        stress = [f"stress_{name}_eV_per_A3" for name in _VOIGT]
        spread = SPREAD_COLUMNS.values() if self._committee else ()
        return csv_line([*COLUMNS.values(), *stress, *spread, "outside"])

    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> bytes:
        """See `Form.record`: the numbers in all digits, empty where there is none."""
        del frame
        stress = numbers["stress"]
        components = ["" if stress is None else float(stress[place]) for place in _VOIGT.values()]
        spread = [numbers[name] for name in SPREAD_COLUMNS] if self._committee else []
        outside = "; ".join(numbers["outside"])
        return csv_line([*(numbers[name] for name in COLUMNS), *components, *spread, outside])


@final
class JSONLines(TextForm):
    """An object for each frame, one a line, with the names and units of ``--json``; without arrays of atoms."""

    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> bytes:
        """See `Form.record`: the object."""
        del frame
        kept = {name: value for name, value in numbers.items() if name not in PER_ATOM}
        kept["stress"] = None if kept["stress"] is None else kept["stress"].tolist()
        return json.dumps(kept, allow_nan=False).encode() + b"\n"


FORMS: Final[Mapping[str, Callable[[bool], Form]]] = {
    **dict.fromkeys(EXTENSIONS, ExtendedXYZ),
    ".csv": CommaSeparated,
    ".jsonl": JSONLines,
    ".db": Database,
}


def csv_line(cells: Sequence[Any]) -> bytes:
    """A line of CSV; numbers have all their digits."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode(errors="replace")
