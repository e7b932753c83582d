"""Labelled structures by the million in one file that is mapped into memory: Arrow's file format, one row each.

Everything is in eV and Å, so a file of this kind is read the same way by everybody, pandas or Polars included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import StructureError, UsageError
from halocline.structures.units import EV_ANGSTROM, Units

if TYPE_CHECKING:
    from ase import Atoms

#: What the name of such a file ends in.
ENDING: Final = ".arrow"
#: Under which the schema says which layout the file has, and which one this is.
_KEY, _LAYOUT = b"halocline.structures", b"1"
#: Names of ASE's results → those of columns, which are the same.
LABELS: Final = ("energy", "forces", "stress")
#: Rows that are written together, and atoms after which fewer are.
_ROWS, _ATOMS = 1024, 1 << 16


def schema(metadata: Mapping[bytes, bytes] | None = None) -> Any:
    """The columns of a file.

    Args:
        metadata: kept in the file, beside its layout.

    Raises:
        UsageError: pyarrow is not installed.
    """
    pa = _pyarrow()
    nine = pa.list_(pa.float64(), 9)
    columns = [
        pa.field("numbers", pa.list_(pa.uint8()), nullable=False),  # atomic numbers, N
        pa.field("positions", pa.list_(pa.float64()), nullable=False),  # Å, 3 N
        pa.field("cell", nine),  # Å, row by row; null without one
        pa.field("pbc", pa.uint8(), nullable=False),  # bit k is that of cell vector k
        pa.field("energy", pa.float64()),  # eV
        pa.field("forces", pa.list_(pa.float64())),  # eV/Å, 3 N
        pa.field("stress", nine),  # eV/Å³, row by row, tension positive
        pa.field("info", pa.string()),  # further entries as JSON
    ]
    return pa.schema(columns, metadata={_KEY: _LAYOUT, **(metadata or {})})


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One structure of N atoms, on its way into a file.

    Attributes:
        numbers: (N,) atomic numbers.
        positions: (N, 3) in Å.
        cell: (3, 3) in Å; None without one.
        pbc: along which cell vectors it repeats.
        energy: eV; None if it is not known.
        forces: (N, 3) in eV/Å, or None.
        stress: (3, 3) in eV/Å³, tension positive, or None.
        info: numbers and texts, by name.
    """

    numbers: NDArray[np.integer[Any]]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None
    pbc: Sequence[bool]
    energy: float | None
    forces: NDArray[np.float64] | None
    stress: NDArray[np.float64] | None
    info: Mapping[str, Any]


@final
class PackedWriter:
    """Writes rows to a file, of which a few are in memory at a time; `close` completes it.

    Args:
        path: a new file.
        metadata: kept in the file.

    Raises:
        UsageError: pyarrow is not installed.
        OSError: the disk is full or the folder cannot be written.
    """

    def __init__(self, path: Path, metadata: Mapping[bytes, bytes]) -> None:
        pa = _pyarrow()
        self._schema = schema(metadata)
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._rows: list[Row] = []
        self._atoms = 0

    def add(self, row: Row) -> None:
        """Append a row."""
        self._rows.append(row)
        self._atoms += len(row.numbers)
        if len(self._rows) >= _ROWS or self._atoms >= _ATOMS:
            self._flush()

    def close(self) -> None:
        """Write what is left and the table of contents, without which the file is damaged."""
        self._flush()
        self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        pa, rows = _pyarrow(), self._rows
        columns = [
            [row.numbers.astype(np.uint8) for row in rows],
            [row.positions.ravel() for row in rows],
            [None if row.cell is None else row.cell.ravel() for row in rows],
            [sum(int(periodic) << k for k, periodic in enumerate(row.pbc)) for row in rows],
            [row.energy for row in rows],
            [None if row.forces is None else row.forces.ravel() for row in rows],
            [None if row.stress is None else row.stress.ravel() for row in rows],
            [json.dumps(dict(row.info)) if row.info else None for row in rows],
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write(pa.record_batch(arrays, schema=self._schema))
        self._rows, self._atoms = [], 0


@final
class PackedFile:
    """The structures of a file, each read from the disk when it is asked for.

    Args:
        path: of the file, which must not change as long as this is used.

    Raises:
        StructureError: the file is damaged, of something else, or holds nothing.
        UsageError: pyarrow is not installed.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        pa = _pyarrow()
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
            found = reader.schema
        except pa.ArrowInvalid as error:
            raise StructureError(
                f"{path} is no complete file of Arrow: it is damaged, was cut off, or is something else."
            ) from error
        if (found.metadata or {}).get(_KEY) != _LAYOUT or not found.equals(schema(), check_metadata=False):
            raise StructureError(
                f"{path} is a file of Arrow, but not one of structures in layout {_LAYOUT.decode()}; "
                "make such a file with `halocline data convert`."
            )
        self.path = path
        self._batches = [_Batch(reader.get_batch(k)) for k in range(reader.num_record_batches)]
        self._starts = np.array([0, *accumulate(len(batch) for batch in self._batches)])
        if not len(self):
            raise StructureError(f"{path} holds no structure.")

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many structures have which of `LABELS`."""
        return {name: sum(batch.count(name) for batch in self._batches) for name in LABELS}

    def numbers(self, row: int) -> NDArray[np.uint8]:
        """The atomic numbers of a structure, (N,)."""
        batch, place = self._find(row)
        return batch.numbers(place)

    def results(self, row: int) -> dict[str, Any]:
        """Which of `LABELS` a structure has: eV, (N, 3) eV/Å, (3, 3) eV/Å³; nobody may change the arrays.

        Raises:
            StructureError: one is not finite.
        """
        batch, place = self._find(row)
        results = batch.results(place)
        for name, value in results.items():
            if not np.isfinite(value).all():
                raise StructureError(
                    f"The {name} of frame {row} of {self.path} is not finite; make the file anew."
                )
        return results

    def bare(self, row: int) -> Atoms:
        """A structure without its labels."""
        batch, place = self._find(row)
        return batch.bare(place)

    def atoms(self, row: int) -> Atoms:
        """A structure, its labels as results of a calculator."""
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = self.bare(row)
        if results := self.results(row):
            if (stress := results.get("stress")) is not None:  # ASE's own form is that of Voigt
                results["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]
            atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms

    def rows_with_entries(self) -> Iterator[int]:
        """Which structures have entries of ``info``."""
        for start, batch in zip(self._starts.tolist(), self._batches, strict=False):
            yield from (start + place for place in batch.with_entries())

    def _find(self, row: int) -> tuple[_Batch, int]:
        k = int(self._starts.searchsorted(row, side="right")) - 1
        return self._batches[k], row - int(self._starts[k])


def structures_of(source: str, units: Units | None = None) -> Iterator[Atoms]:
    """The structures of a file in their order; see `PackedFile`.

    Raises:
        UsageError: other units are stated than those of the format.
    """
    refuse_units(source, units)
    file = PackedFile(Path(source))
    return map(file.atoms, range(len(file)))


def refuse_units(source: str, units: Units | None) -> None:
    """Refuse to read a file in other units than its own.

    Raises:
        UsageError: such units are stated.
    """
    if units not in (None, EV_ANGSTROM):
        raise UsageError(f"{source} is in eV and Å, as all files of this kind; state no other units for it.")


class _Batch:
    """Rows that lie together; arrays are views into the mapped file."""

    def __init__(self, batch: Any) -> None:
        self._columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        lists = ("numbers", "positions", "forces")
        self._offsets = {name: self._columns[name].offsets.to_numpy() for name in lists}
        self._values = {name: self._columns[name].values.to_numpy() for name in lists}
        for name in ("cell", "stress"):  # whose rows have room for values where there are none
            self._values[name] = np.frombuffer(self._columns[name].values.buffers()[1], np.float64)

    def __len__(self) -> int:
        return len(self._columns["pbc"])

    def count(self, name: str) -> int:
        column = self._columns[name]
        return len(column) - int(column.null_count)

    def numbers(self, place: int) -> NDArray[np.uint8]:
        return self._list("numbers", place)

    def results(self, place: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if (energy := self._columns["energy"][place].as_py()) is not None:
            found["energy"] = energy
        if self._columns["forces"][place].is_valid:
            found["forces"] = self._list("forces", place).reshape(-1, 3)
        if (stress := self._nine("stress", place)) is not None:
            found["stress"] = stress
        return found

    def bare(self, place: int) -> Atoms:
        from ase import Atoms

        pbc = self._columns["pbc"][place].as_py()
        info = self._columns["info"][place].as_py()
        return Atoms(
            numbers=self.numbers(place),
            positions=self._list("positions", place).reshape(-1, 3),
            cell=self._nine("cell", place),
            pbc=[bool(pbc >> k & 1) for k in range(3)],
            info=None if info is None else json.loads(info),
        )

    def with_entries(self) -> list[int]:
        column = self._columns["info"]
        if column.null_count == len(column):
            return []
        places: list[int] = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).tolist()
        return places

    def _list(self, name: str, place: int) -> NDArray[Any]:
        start, stop = self._offsets[name][place : place + 2]
        values: NDArray[Any] = self._values[name][start:stop]
        return values

    def _nine(self, name: str, place: int) -> NDArray[np.float64] | None:
        if not self._columns[name][place].is_valid:
            return None
        values: NDArray[np.float64] = self._values[name][9 * place : 9 * place + 9].reshape(3, 3)
        return values


def _pyarrow() -> ModuleType:
    try:
        import pyarrow.ipc
    except ImportError:
        raise UsageError(
            f"Files whose names end in {ENDING} need pyarrow: pip install 'halocline[data]'."
        ) from None
    module: ModuleType = pyarrow
    return module
