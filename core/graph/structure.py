"""A structure, checked once before anything is computed from it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from halocline.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms

#: A periodic cell whose vectors span less than this fraction of their lengths' product counts as flat.
FLAT_CELL = 1e-6

#: Lengths from here on (Å; ten metres) are a mistake. Below it, float64 tells positions apart to 2e-5 Å.
LONGEST = 1e11

#: Occupancies are written with three digits or more, so 0.999 is a whole atom.
OCCUPANCY_TOLERANCE = 1.5e-3
#: Columns in which readers leave the occupancy of each atom.
_OCCUPANCIES = ("occupancy", "occupancies")
#: Atoms or sites that a message names.
_MOST = 5


@final
@dataclass(frozen=True, slots=True)
class Structure:
    """Atoms in a cell.

    Attributes:
        numbers: (N,) int64, atomic numbers.
        positions: (N, 3) float64, Å; atoms may lie outside the cell.
        cell: (3, 3) float64, Å; rows are lattice vectors. Rows of open directions are ignored.
        pbc: (3,) bool, which lattice vectors repeat.
        conditions: name → (N,) int64 or float64, what the model is told beside atoms and cell; see
            `halocline.model.Condition`. Atoms of one structure have one value.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    conditions: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def from_atoms(cls, atoms: Atoms, like: Structure | None = None) -> Structure:
        """Copy what matters out of an ASE object and check it.

        Args:
            atoms: any.
            like: was made so before. Its arrays but for the positions are taken where they are equal to the bit,
                and not checked again; whoever has prepared something for them knows them by that.

        Raises:
            StructureError: no atoms; an atomic number of no element; positions or cell not finite, or beyond
                `LONGEST`; periodic vectors that span no volume; sites that are occupied in part.
        """
        refuse_partial(atoms)
        structure = cls(
            numbers=_copied(atoms.numbers, np.int64, None if like is None else like.numbers),
            positions=np.array(atoms.positions, dtype=np.float64),
            cell=_copied(atoms.cell.array, np.float64, None if like is None else like.cell),
            pbc=_copied(atoms.pbc, np.bool_, None if like is None else like.pbc),
        )
        if like is None or structure.numbers is not like.numbers:
            structure._check_numbers()
        structure._check_positions()
        if like is None or structure.cell is not like.cell or structure.pbc is not like.pbc:
            structure._check_cell()
        return structure

    def copy(self) -> Structure:
        """The same structure in arrays of its own."""
        conditions = {name: values.copy() for name, values in self.conditions.items()}
        return Structure(self.numbers.copy(), self.positions.copy(), self.cell.copy(), self.pbc.copy(), conditions)

    def under(self, conditions: dict[str, NDArray[Any]]) -> Structure:
        """The same atoms, of which a model is told this; see the attribute."""
        return replace(self, conditions=conditions)

    def same_conditions(self, other: Structure) -> bool:
        """Whether a model is told the same of both."""
        mine, theirs = self.conditions, other.conditions
        return mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float | None:
        """Volume in Å³ if periodic in all three directions, else None."""
        return volume_of(self.cell) if all(self.pbc.tolist()) else None

    def _check_numbers(self) -> None:
        if len(self) == 0:
            raise StructureError("The structure has no atoms; nothing can be evaluated.")
        odd = np.flatnonzero((self.numbers < 0) | (self.numbers >= len(chemical_symbols)))
        if len(odd):
            raise StructureError(
                f"Atom {odd[0]} has the atomic number {self.numbers[odd[0]]}, which no element has; correct it."
            )

    def _check_positions(self) -> None:
        # No number is larger than the root of the sum of all squares, which is found sooner.
        if (
            not np.vdot(self.positions, self.positions) < LONGEST**2
            and not (np.abs(self.positions) < LONGEST).all()
        ):
            self._refuse_positions()

    def _check_cell(self) -> None:
        vectors = self.cell[self.pbc]
        if not len(vectors):
            return
        if not np.isfinite(vectors).all():
            raise StructureError("The cell is not finite; repair the structure.")
        if (np.abs(vectors) >= LONGEST).any():
            raise StructureError(f"The cell is {LONGEST:.0e} Å long or more; check it and its unit (Å).")
        lengths = np.linalg.norm(vectors, axis=1)
        span = np.sqrt(max(0.0, float(np.linalg.det(vectors @ vectors.T))))
        if span <= FLAT_CELL * np.prod(lengths):
            raise StructureError(
                "The periodic cell has no volume: its vectors are zero or parallel. "
                "Set a proper cell, or pbc=False for a molecule."
            )

    def _refuse_positions(self) -> None:
        bad = np.flatnonzero(~np.isfinite(self.positions).all(axis=1))
        if len(bad):
            raise StructureError(f"The positions of atoms {_some(bad)} are not finite; repair the structure.")
        far = np.flatnonzero((np.abs(self.positions) >= LONGEST).any(axis=1))
        raise StructureError(
            f"The positions of atoms {_some(far)} lie {LONGEST:.0e} Å or more from the origin, where "
            "distances between atoms are lost in rounding; move or repair the structure."
        )


def volume_of(cell: NDArray[np.float64]) -> float:
    """The volume of a cell (3, 3), in Å³; at a step of dynamics it is often that of the step before."""
    return _volume(cell.tobytes())


@functools.lru_cache(maxsize=16)
def _volume(cell: bytes) -> float:
    return abs(float(np.linalg.det(np.frombuffer(cell).reshape(3, 3))))


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays are equal to the bit; for short ones NumPy's own comparison takes ten times as long."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _copied(array: NDArray[Any], dtype: type[Any], known: NDArray[Any] | None) -> NDArray[Any]:
    """A copy in a dtype, or what is known if that is the same."""
    return known if known is not None and same_bits(array, known) else np.array(array, dtype=dtype)


def _some(indices: NDArray[np.int64], most: int = _MOST) -> str:
    """Name the first few indices."""
    text = ", ".join(str(i) for i in indices[:most])
    return text + (f" and {len(indices) - most} more" if len(indices) > most else "")


def refuse_partial(atoms: Atoms) -> None:
    """Refuse a structure with sites that are shared, or empty in part.

    Occupancies are looked for where ASE's readers leave them: in ``atoms.info["occupancy"]``, by site, and in
    columns of that name. A column that is zero throughout was never filled in.

    Raises:
        StructureError: names the sites and their occupancies.
    """
    if "occupancy" not in atoms.info and not any(name in atoms.arrays for name in _OCCUPANCIES):
        return
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
        if len(species) > 1 or any(abs(number - 1.0) > OCCUPANCY_TOLERANCE for number in given.values()):
            shares = ", ".join(f"{symbol} {value}" for symbol, value in species.items())
            yield f"site {site}{_first_atom(atoms, site)}: {shares}"


def _first_atom(atoms: Atoms, site: Any) -> str:
    """Where that site is among the atoms, as far as the reader has kept it."""
    kinds = atoms.arrays.get("spacegroup_kinds")
    found = np.flatnonzero(np.asarray([] if kinds is None else kinds).astype(str) == str(site))
    return f" (atom {found[0]})" if len(found) else ""


def _by_atom(atoms: Atoms) -> Iterator[str]:
    for name in _OCCUPANCIES:
        column = atoms.arrays.get(name)
        if column is None or column.dtype.kind not in "fiu" or column.ndim != 1 or not column.any():
            continue
        for atom in np.flatnonzero(~(np.abs(column - 1.0) <= OCCUPANCY_TOLERANCE)):
            yield f"atom {atom}: {atoms.symbols[atom]} {column[atom]:g}"


def _number(value: Any) -> float | None:
    """The value, or None where a file says that it is not known."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
