"""Sites that are occupied in part: a mean over many structures, which no potential can evaluate as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from halocline.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms

#: Occupancies are written with three digits or more, so 0.999 is a whole atom.
TOLERANCE = 1.5e-3
#: Columns in which readers leave the occupancy of each atom.
_COLUMNS = ("occupancy", "occupancies")
_MOST = 5


def refuse_partial(atoms: Atoms) -> None:
    """Refuse a structure with sites that are shared, or empty in part.

    Occupancies are looked for where ASE's readers leave them: in ``atoms.info["occupancy"]``, by site, and in
    columns of that name. A column that is zero throughout was never filled in.

    Raises:
        StructureError: names the sites and their occupancies.
    """
    sites = [*_by_site(atoms), *_by_atom(atoms)]
    if sites:
        more = f" and {len(sites) - _MOST} more" if len(sites) > _MOST else ""
        raise StructureError(
            f"Sites are occupied in part: {'; '.join(sites[:_MOST])}{more}. A model needs whole atoms: choose one "
            "ordered arrangement, or several to average over, and write it without occupancies."
        )


def _by_site(atoms: Atoms) -> Iterator[str]:
    table = atoms.info.get("occupancy")
    if not isinstance(table, Mapping):
        return
    for site, species in table.items():
        given = {symbol: number for symbol, value in species.items() if (number := _number(value)) is not None}
        if len(species) > 1 or any(abs(number - 1.0) > TOLERANCE for number in given.values()):
            shares = ", ".join(f"{symbol} {value}" for symbol, value in species.items())
            yield f"site {site}{_first_atom(atoms, site)}: {shares}"


def _first_atom(atoms: Atoms, site: Any) -> str:
    """Where that site is among the atoms, as far as the reader has kept it."""
    kinds = atoms.arrays.get("spacegroup_kinds")
    found = np.flatnonzero(np.asarray([] if kinds is None else kinds).astype(str) == str(site))
    return f" (atom {found[0]})" if len(found) else ""


def _by_atom(atoms: Atoms) -> Iterator[str]:
    for name in _COLUMNS:
        column = atoms.arrays.get(name)
        if column is None or column.dtype.kind not in "fiu" or column.ndim != 1 or not column.any():
            continue
        for atom in np.flatnonzero(~(np.abs(column - 1.0) <= TOLERANCE)):
            yield f"atom {atom}: {atoms.symbols[atom]} {column[atom]:g}"


def _number(value: Any) -> float | None:
    """The value, or None where a file says that it is not known."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
