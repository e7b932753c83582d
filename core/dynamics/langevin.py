"""ASE's BAOAB steps of atoms that nothing holds, in a cell that stays: its numbers in a third of its calls."""

from __future__ import annotations

from typing import final

import numpy as np
from ase.md.langevinbaoab import LangevinBAOAB


@final
class Langevin(LangevinBAOAB):
    """See ASE. Every number is ASE's to the bit.

    Its own step is taken with a barostat, with constraints, and without ``hydrostatic``, which rounds otherwise.
    """

    def step(self) -> None:
        """One time step: B, A, O, A, forces, B."""
        atoms = self.atoms
        momenta, positions = atoms.arrays.get("momenta"), atoms.arrays["positions"]
        if self.externalstress is not None or not self.hydrostatic or momenta is None or atoms.constraints:
            super().step()  # type: ignore[no-untyped-call]
            return
        masses = atoms.get_masses()[:, None]
        half = 0.5 * self.dt
        # ASE keeps momenta, and forms velocities from them each time: what that rounds is rounded here, too.
        np.multiply(masses, momenta / masses + half * self.accel, out=momenta)
        positions += half * (momenta / masses)
        if self.gamma != 0.0:
            velocities = momenta / masses
            velocities *= np.exp(-self.gamma * self.dt)
            velocities += self.BAOAB_prefactor * (self.rng.normal(size=positions.shape) / np.sqrt(masses))
            np.multiply(masses, velocities, out=momenta)
        positions += half * (momenta / masses)
        self.accel = atoms.get_forces() / masses
        np.multiply(masses, momenta / masses + half * self.accel, out=momenta)
