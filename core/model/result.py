"""What a potential returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class Result:
    """Energy, forces and stress of one structure of N atoms, all float64.

    Attributes:
        energies: (N,), eV, each atom's share, its element's reference energy included.
        forces: (N, 3), eV/Å, minus the gradient of the energy.
        virial: (3, 3), eV, derivative of the energy by a uniform strain. Symmetric.
        volume: Å³ if the structure is periodic in all three directions, else None.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]
    volume: float | None

    @property
    def energy(self) -> float:
        """Total energy, eV."""
        return float(self.energies.sum())

    @property
    def stress(self) -> NDArray[np.float64] | None:
        """Cauchy stress, (3, 3), eV/Å³, tension positive; None unless periodic in all three directions."""
        return None if self.volume is None else self.virial / self.volume
