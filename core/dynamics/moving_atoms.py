"""The atoms of a run: ASE's, with what does not change during a run worked out once."""

from __future__ import annotations

import copy
from typing import Any, Self, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray


@final
class MovingAtoms(Atoms):
    """A copy whose elements and masses stay as they are. Every number is what `Atoms` gives, to the bit.

    ASE's integrators ask for masses ten times a step, and for velocities, which are divided by them, four times.
    """

    _known_masses: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, atoms: Atoms) -> Self:
        """A copy of any atoms, without their calculator."""
        self = cls(cell=atoms.cell, pbc=atoms.pbc, info=atoms.info, celldisp=atoms.get_celldisp())
        self.arrays = {name: column.copy() for name, column in atoms.arrays.items()}
        self.constraints = copy.deepcopy(atoms.constraints)
        return self

    def get_masses(self) -> NDArray[np.float64]:
        """See ASE; nobody can write to the array."""
        if self._known_masses is None:
            self._known_masses = super().get_masses()
            self._known_masses.flags.writeable = False
        return self._known_masses.view()  # integrators give the array that they get another shape

    def get_velocities(self) -> NDArray[np.float64]:
        """See ASE."""
        momenta = self.arrays.get("momenta")
        if momenta is None:
            return np.zeros((len(self), 3))
        velocities: NDArray[np.float64] = momenta / self.get_masses()[:, None]
        return velocities

    def set_momenta(self, momenta: Any, apply_constraint: bool = True) -> None:
        """See ASE."""
        known = self.arrays.get("momenta")
        if known is None or (apply_constraint and self.constraints):
            super().set_momenta(momenta, apply_constraint)  # type: ignore[no-untyped-call]
        else:
            known[:] = momenta
