"""Rows of ASE's databases in SQLite, as structures."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from halocline.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms


def rows_of(source: str) -> Iterator[Atoms]:
    """The structures of a database in the order of their rows, read when they are asked for.

    Results are those of the calculator; keys and values are entries of ``info``, and so are data, but for arrays
    with a row for each atom, which are columns.

    Args:
        source: path of the file, which stays as it is.

    Raises:
        StructureError: it is a database of something else.
    """
    import ase.db

    path = Path(source).absolute()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        # ASE's reader would make the tables that it misses.
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if "systems" not in tables:
        raise StructureError(f"{source} is a database, but none of structures that ASE has made.")
    with ase.db.connect(path, type="db", serial=True, use_lock_file=False) as database:
        yield from map(_of_row, database.select())


def _of_row(row: Any) -> Atoms:
    atoms: Atoms = row.toatoms()
    atoms.info |= row.key_value_pairs
    for name, value in row.data.items():
        if isinstance(value, np.ndarray) and value.ndim and len(value) == len(atoms):
            if name not in atoms.arrays:
                atoms.set_array(name, value)
        else:
            atoms.info.setdefault(name, value)
    return atoms
