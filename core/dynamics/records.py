"""Files that a run appends to: the trajectory and the log.

A restart cuts them back to the length that the checkpoint recorded, after comparing their SHA-256 up to there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from halocline.dynamics.step_record import COLUMNS
from halocline.errors import DynamicsError
from halocline.structures.constraints import writable
from halocline.structures.unused import STATE_COLUMNS, STATES
from halocline.structures.write import extended_xyz

#: The mark of a file that is still to be written.
EMPTY = {"length": 0, "sha256": hashlib.sha256().hexdigest()}
_BLOCK = 1 << 20
#: Columns that belong to the atoms, whatever step they are at.
_COLUMNS = ("tags", "masses", "momenta", *STATE_COLUMNS)
#: What a frame carries of the calculator's results.
_RESULTS = ("energy", "forces", "stress", "energies")


@final
class AppendedFile:
    """A file that grows by whole records: a record that does not fit on the disk is taken back.

    Args:
        path: where it lies.
        mark: length and SHA-256 to go on from, as `mark` returned them; `EMPTY` for a new file.

    Raises:
        DynamicsError: the file is shorter than the mark says, has changed, or cannot be written.
    """

    def __init__(self, path: Path, mark: dict[str, Any]) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._length = 0
        with self._reported():
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
            self._cut_back(mark)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, record: bytes) -> None:
        """Write one whole record, or nothing of it.

        Raises:
            DynamicsError: the disk is full or the file cannot be written.
        """
        with self._reported():
            try:
                self._write(record)
            except OSError:
                os.ftruncate(self._file.fileno(), self._length)
                raise
        self._digest.update(record)
        self._length += len(record)

    def mark(self) -> dict[str, Any]:
        """Bring everything to the disk, and return the length and SHA-256 of it."""
        with self._reported():
            os.fsync(self._file.fileno())
        return {"length": self._length, "sha256": self._digest.hexdigest()}

    def _write(self, record: bytes) -> None:
        rest = memoryview(record)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def _cut_back(self, mark: dict[str, Any]) -> None:
        for block in self._blocks(mark["length"]):
            self._digest.update(block)
            self._length += len(block)
        if self._length != mark["length"] or self._digest.hexdigest() != mark["sha256"]:
            self._file.close()
            raise DynamicsError(
                f"{self._path} is not the file that the checkpoint belongs to: its first {mark['length']} bytes "
                "were changed or are missing. Restore it, or start anew with --overwrite."
            )
        self._file.truncate(self._length)
        self._file.seek(self._length)

    def _blocks(self, length: int) -> Iterator[bytes]:
        while length > 0 and (block := self._file.read(min(length, _BLOCK))):
            length -= len(block)
            yield block

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise DynamicsError(f"Cannot write {self._path}: {reason}. What it holds so far is whole.") from error


def frame_bytes(atoms: Atoms, **info: float) -> bytes:
    """Format a frame as extended XYZ: positions, momenta if any, energies, forces, stress, and what `info` adds.

    With it go tags, masses, constraints, and charges and spins, so that another command can go on from it. Nothing
    else of the atoms does: labels that a structure brought are not those of its later frames.
    """
    frame = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for name in _COLUMNS:
        if atoms.has(name):
            frame.set_array(name, atoms.arrays[name])
    frame.set_constraint(writable(atoms))
    frame.info.update({name: atoms.info[name] for name in STATES if name in atoms.info} | info)
    frame.calc = SinglePointCalculator(frame, **_results(atoms))
    return extended_xyz([frame])


def row_bytes(row: Sequence[str]) -> bytes:
    """Format one line of the log as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()


def read_log(path: Path, columns: tuple[str, ...] = COLUMNS) -> dict[str, NDArray[np.float64]]:
    """Read a log into one array per column; empty fields become NaN.

    Raises:
        DynamicsError: the file cannot be read or does not have these columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        table = np.array([[float(field or "nan") for field in row] for row in rows]).reshape(-1, len(columns))
    except (OSError, ValueError) as error:
        raise DynamicsError(f"{path} cannot be read as a log of a run: {error}.") from error
    if tuple(header) != columns:
        raise DynamicsError(
            f"{path} is not the log of such a run: its columns are {', '.join(header) or 'missing'}."
        )
    return dict(zip(columns, table.T, strict=True))


def _results(atoms: Atoms) -> dict[str, Any]:
    """The calculator's results for these atoms that a frame carries, without constraints applied."""
    results = getattr(atoms.calc, "results", {})
    return {name: results[name] for name in _RESULTS if results.get(name) is not None}
