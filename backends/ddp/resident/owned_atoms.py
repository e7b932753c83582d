"""The atoms that live on one rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
from numpy.typing import NDArray

from halocline.structures.constraints import fixed_atoms

if TYPE_CHECKING:
    from ase import Atoms

#: Columns before those of conditions: id, atomic number, mass, position, momentum and whether it is fixed.
_COLUMNS = 10


@final
@dataclass(frozen=True, slots=True)
class OwnedAtoms:
    """The n atoms of a rank, and all of their state. Integrators move them in place.

    Attributes:
        ids: (n,) int64, global and increasing.
        numbers: (n,) int64, atomic numbers.
        masses: (n,) float64, amu.
        positions: (n, 3) float64, Å, as the user's structure has them: not wrapped, so that paths have no jumps.
        momenta: (n, 3) float64, in ASE's units, √(eV·amu).
        fixed: (n,) bool, which of them never move.
        conditions: name → (n,) int64 or float64, what the model is told of the structure; see `Structure`. The
            same names, in the same order, on all ranks.
    """

    ids: NDArray[np.int64]
    numbers: NDArray[np.int64]
    masses: NDArray[np.float64]
    positions: NDArray[np.float64]
    momenta: NDArray[np.float64]
    fixed: NDArray[np.bool_]
    conditions: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, atoms: Atoms, ids: NDArray[np.int64], conditions: Mapping[str, NDArray[Any]] | None = None
    ) -> Self:
        """Copy some of the atoms of a structure.

        Args:
            atoms: N of them.
            ids: (n,) int64, places of those that are wanted, increasing.
            conditions: name → (N,), of the whole structure.
        """
        return cls(
            ids=np.array(ids, np.int64),
            numbers=np.array(atoms.numbers[ids], np.int64),
            masses=np.array(atoms.get_masses()[ids], np.float64),
            positions=np.array(atoms.positions[ids], np.float64),
            momenta=np.array(atoms.get_momenta()[ids], np.float64),
            fixed=fixed_atoms(atoms)[ids],
            conditions={name: values[ids] for name, values in (conditions or {}).items()},
        )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> OwnedAtoms:
        """Copies of some of them, in the order of these rows."""
        return OwnedAtoms(
            self.ids[rows],
            self.numbers[rows],
            self.masses[rows],
            self.positions[rows],
            self.momenta[rows],
            self.fixed[rows],
            {name: values[rows] for name, values in self.conditions.items()},
        )

    def packed(self) -> NDArray[np.int64]:
        """All columns side by side, to the bit: (n, 10 + c) int64, for c conditions."""
        rows = np.empty((len(self), _COLUMNS + len(self.conditions)), np.int64)
        floats = rows.view(np.float64)
        rows[:, 0], rows[:, 1], floats[:, 2] = self.ids, self.numbers, self.masses
        floats[:, 3:6], floats[:, 6:9], rows[:, 9] = self.positions, self.momenta, self.fixed
        for column, values in enumerate(self.conditions.values(), _COLUMNS):
            rows[:, column] = np.ascontiguousarray(values).view(np.int64)
        return rows

    def merged(self, several: Sequence[NDArray[np.int64]]) -> OwnedAtoms:
        """The atoms of several packed lists, in the order of their ids.

        Args:
            several: of each, what `packed` gave for atoms with the same conditions as these.
        """
        rows = np.concatenate(several)
        rows = rows[np.argsort(rows[:, 0])]
        floats = rows.view(np.float64)
        conditions = {
            name: np.ascontiguousarray(rows[:, column]).view(values.dtype)
            for column, (name, values) in enumerate(self.conditions.items(), _COLUMNS)
        }
        return OwnedAtoms(
            rows[:, 0].copy(),
            rows[:, 1].copy(),
            floats[:, 2].copy(),
            floats[:, 3:6].copy(),
            floats[:, 6:9].copy(),
            rows[:, 9].astype(np.bool_),
            conditions,
        )
