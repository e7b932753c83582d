"""Results as a database of ASE, in SQLite: structures that can be searched by their numbers."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, final

import ase.db
import numpy as np
from ase.db.core import check, object_to_bytes
from ase.db.sqlite import all_tables
from ase.stress import full_3x3_to_voigt_6_stress

from halocline.errors import OutputError
from halocline.evaluation.numbers import COLUMNS, SPREAD_COLUMNS, with_results

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.evaluation.frames import Frame

_LOG = logging.getLogger(__name__)

#: What a row has by itself.
_OF_ROWS: Final = ("formula", "atoms", "energy")
#: Columns of structures that rows have columns for, too.
_ARRAYS: Final = ("numbers", "positions", "momenta", "masses", "tags", "initial_magmoms", "initial_charges")


class Row(NamedTuple):
    """What is written of a frame.

    Attributes:
        atoms: with results, by ASE's names.
        pairs: keys and values that rows are searched by.
        data: everything else, by name.
    """

    atoms: Atoms
    pairs: dict[str, Any]
    data: dict[str, Any]


@final
class Database:
    """A row for each frame; marks count rows.

    Keys are the columns of CSV, and those entries of the structure that ASE takes as such. Energies of atoms,
    spreads and whatever else the structure has are its data.

    Args:
        committee: whether the model is one.
    """

    def __init__(self, committee: bool) -> None:
        self._keys = {name: key for name, key in COLUMNS.items() if name not in _OF_ROWS}
        self._keys |= SPREAD_COLUMNS if committee else {}

    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> Row:
        """See `halocline.evaluation.forms.Form`."""
        stress = None if numbers["stress"] is None else full_3x3_to_voigt_6_stress(numbers["stress"])
        atoms = with_results(frame, {**numbers, "stress": stress})
        told = {key: numbers[name] for name, key in self._keys.items() if numbers[name] is not None}
        told |= {"outside": "; ".join(numbers["outside"])} if numbers["outside"] else {}
        others = {
            name: _plain(value)
            for name, value in atoms.info.items()
            if name not in told.keys() | SPREAD_COLUMNS.keys()
        }
        pairs = {name: value for name, value in (told | others).items() if _is_key(name, value)}
        data = {name: value for name, value in (told | others).items() if name not in pairs}
        data |= {name: values for name, values in atoms.arrays.items() if name not in _ARRAYS}
        data["energies"] = numbers["energies"]
        return Row(atoms, pairs, {name: value for name, value in data.items() if _has_a_form(name, value)})

    def open(self, path: Path, mark: Mapping[str, Any]) -> RowStore:
        """See `halocline.evaluation.forms.Form`."""
        return RowStore(path, mark)

    def last_intact(self, path: Path, marks: Sequence[Mapping[str, Any]]) -> int | None:
        """See `halocline.evaluation.forms.Form`."""
        digest, length, found = hashlib.sha256(), 0, None
        with _reported(path), _connected(path) as connection:
            rows = _rows(connection)
            for place, mark in enumerate(marks):
                while length < mark["length"] and (row := next(rows, None)) is not None:
                    _add(digest, row)
                    length += 1
                if length == mark["length"] and digest.hexdigest() == mark["sha256"]:
                    found = place
        return found

    def length(self, path: Path) -> int:
        """See `halocline.evaluation.forms.Form`: rows."""
        with _reported(path), _connected(path) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM systems").fetchone()[0])


@final
class RowStore:
    """A database that is open; each batch is one transaction of SQLite, on the disk when it is done.

    Args:
        path: of the file.
        mark: rows to keep, and their digest; a file with none of them is replaced with the first batch.

    Raises:
        OutputError: it cannot be written, or the rows are not what they were.
    """

    def __init__(self, path: Path, mark: Mapping[str, Any]) -> None:
        self._path, self._digest, self._length, self._last = path, hashlib.sha256(), 0, 0
        with _reported(path):
            if mark["length"]:
                self._cut_back(mark)
            else:
                for each in (path, path.with_name(f"{path.name}-journal")):
                    each.unlink(missing_ok=True)

    def append(self, records: Sequence[Row]) -> None:
        """Write all rows, or none of them.

        Raises:
            OutputError: the disk is full or the file cannot be written.
        """
        if not records:
            return
        with _reported(self._path):
            with ase.db.connect(self._path, type="db", use_lock_file=False, serial=True) as database:
                for atoms, pairs, data in records:
                    database.write(atoms, pairs, data)
            with _connected(self._path) as connection:
                self._take_in(_rows(connection, after=self._last))

    def sync(self) -> None:
        """SQLite has seen to it."""

    def mark(self) -> dict[str, Any]:
        """Number and digest of the rows."""
        return {"length": self._length, "sha256": self._digest.hexdigest()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing stays open between batches."""

    def _take_in(self, rows: Iterator[tuple[Any, ...]]) -> None:
        for row in rows:
            _add(self._digest, row)
            self._length, self._last = self._length + 1, row[0]

    def _cut_back(self, mark: Mapping[str, Any]) -> None:
        """Keep the rows of the mark; the next one has the number that it would have had."""
        with _connected(self._path) as connection:
            self._take_in(_rows(connection, most=mark["length"]))
            if self.mark() != dict(mark):
                raise OutputError(f"The first {mark['length']} rows of {self._path} were changed or are missing.")
            with connection:
                for table in reversed(all_tables):
                    connection.execute(f"DELETE FROM {table} WHERE id > ?", (self._last,))
                connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'systems'", (self._last,))


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise OutputError(f"Cannot read or write {path}: {error}. What it holds so far is whole.") from error


def _rows(connection: sqlite3.Connection, *, after: int = 0, most: int = -1) -> Iterator[tuple[Any, ...]]:
    """Rows beyond a number, in order, with all that ASE keeps of them; at most so many."""
    return connection.execute("SELECT * FROM systems WHERE id > ? ORDER BY id LIMIT ?", (after, most))


def _add(digest: Any, row: tuple[Any, ...]) -> None:
    for value in row:
        data = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(len(data).to_bytes(8))
        digest.update(data)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_key(name: str, value: Any) -> bool:
    """Whether ASE searches rows by an entry: not by names of its own, nor by text that reads as a number."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check({name: value})
        except (ValueError, TypeError, UserWarning):
            return False
    return True


def _has_a_form(name: str, value: Any) -> bool:
    try:
        object_to_bytes({name: value})
    except (AttributeError, TypeError, ValueError):  # as ASE happens to fail
        _LOG.warning("A database has no form for the entry %s; left out.", name)
        return False
    return True
