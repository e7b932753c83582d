"""A structure, checked once before anything is computed from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from halocline.errors import StructureError
from halocline.graph.occupancies import refuse_partial

if TYPE_CHECKING:
    from ase import Atoms

#: A periodic cell whose vectors span less than this fraction of their lengths' product counts as flat.
FLAT_CELL = 1e-6

#: Lengths from here on (Å; ten metres) are a mistake. Below it, float64 tells positions apart to 2e-5 Å.
LONGEST = 1e11


@final
@dataclass(frozen=True, slots=True)
class Structure:
    """Atoms in a cell.

    Attributes:
        numbers: (N,) int64, atomic numbers.
        positions: (N, 3) float64, Å; atoms may lie outside the cell.
        cell: (3, 3) float64, Å; rows are lattice vectors. Rows of open directions are ignored.
        pbc: (3,) bool, which lattice vectors repeat.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> Structure:
        """Copy what matters out of an ASE object and check it.

        Raises:
            StructureError: no atoms; an atomic number of no element; positions or cell not finite, or beyond
                `LONGEST`; periodic vectors that span no volume; sites that are occupied in part.
        """
        refuse_partial(atoms)
        structure = cls(
            numbers=np.array(atoms.numbers, dtype=np.int64),
            positions=np.array(atoms.positions, dtype=np.float64),
            cell=np.array(atoms.cell.array, dtype=np.float64),
            pbc=np.array(atoms.pbc, dtype=np.bool_),
        )
        structure._check()
        return structure

    def copy(self) -> Structure:
        """The same in arrays of its own."""
        return Structure(self.numbers.copy(), self.positions.copy(), self.cell.copy(), self.pbc.copy())

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float | None:
        """Volume in Å³ if periodic in all three directions, else None."""
        return abs(float(np.linalg.det(self.cell))) if self.pbc.all() else None

    def _check(self) -> None:
        if len(self) == 0:
            raise StructureError("The structure has no atoms; nothing can be evaluated.")
        odd = np.flatnonzero((self.numbers < 0) | (self.numbers >= len(chemical_symbols)))
        if len(odd):
            raise StructureError(
                f"Atom {odd[0]} has the atomic number {self.numbers[odd[0]]}, which no element has; correct it."
            )
        if not (np.abs(self.positions) < LONGEST).all():
            self._refuse_positions()
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


def _some(indices: NDArray[np.int64], most: int = 5) -> str:
    """Name the first few indices."""
    text = ", ".join(str(i) for i in indices[:most])
    return text + (f" and {len(indices) - most} more" if len(indices) > most else "")
