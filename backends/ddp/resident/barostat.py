"""Constant pressure for atoms that ranks own: each rank moves the cell's one degree of freedom, to the same bits.

Langevin dynamics of atoms and volume, Quigley and Probert, J. Chem. Phys. 120, 11432 (2004), split as BAOAB by
ASE's `LangevinBAOAB`, whose formulas these are.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
from ase import units
from numpy.typing import NDArray

from halocline.backends.ddp.resident.counter_random import common_noise, normals
from halocline.backends.ddp.resident.integration import (
    Evaluate,
    Held,
    Integrator,
    Total,
    drift,
    kick,
    kinetic_energy,
)
from halocline.dynamics.settings import Settings


@final
class LangevinHoover(Integrator):
    """Atoms in a cell that keeps its shape, while its volume fluctuates.

    Args:
        settings: time step, relaxation times, temperature, pressure and seed.
        free: degrees of freedom of all atoms.
        total: adds up over ranks.
        state: what `state` was at this step; empty at the start of a run.
    """

    _momentum: float
    _force: float | None

    def __init__(self, settings: Settings, free: int, total: Total, state: NDArray[np.float64]) -> None:
        self._settings, self._free, self._total = settings, free, total
        self._timestep, time = settings.timestep * units.fs, settings.barostat_time * units.fs
        # Martyna et al., 10.1063/1.467468. Where the temperature changes, the mass stays that of the highest.
        self._mass = (free + 3) * units.kB * settings.highest_temperature * time**2
        self._momentum, self._force = (float(state[0]), float(state[1])) if len(state) else (0.0, None)

    @property
    def state(self) -> NDArray[np.float64]:
        """The momentum of the cell and the force on it, (2,) eV·Å√(amu/eV) and eV; empty before the first step.

        That force belongs to momenta of half a step before, so it does not follow from where atoms are now.
        """
        return np.empty(0) if self._force is None else np.array([self._momentum, self._force])

    def step(self, held: Held, done: int, evaluate: Evaluate) -> Held:
        """See `Integrator.step`."""
        half, atoms = 0.5 * self._timestep, held.atoms
        force = self._force_on_cell(held) if self._force is None else self._force
        self._momentum = self._momentum + half * force
        kick(held, half)
        first = np.exp(half * self._momentum / self._mass)
        np.multiply(atoms.positions, first, out=atoms.positions)
        drift(atoms, half)
        self._meet_bath(atoms.momenta, atoms.masses, normals(self._settings.seed, done, atoms.ids), done)
        drift(atoms, half)
        second = np.exp(half * self._momentum / self._mass)
        np.multiply(atoms.positions, second, out=atoms.positions)
        held = evaluate(atoms, float(first * second))
        self._force = self._force_on_cell(held)
        kick(held, half)
        self._momentum = self._momentum + half * self._force
        return held

    def _meet_bath(
        self, momenta: NDArray[np.float64], masses: NDArray[np.float64], noise: NDArray[np.float64], done: int
    ) -> None:
        """The step O, of atoms, which the moving cell drags as well, and then of the cell."""
        settings, timestep = self._settings, self._timestep
        thermal = units.kB * settings.bath_temperature(done)
        friction = 1.0 / (settings.relaxation_time * units.fs)
        drag = (1.0 + 3.0 / self._free) * self._momentum / self._mass
        np.multiply(momenta, np.exp(-(friction + drag) * timestep), out=momenta)
        share = 1.0 - math.exp(-2.0 * friction * timestep)
        np.add(momenta, noise * np.sqrt(thermal * share * masses)[:, None], out=momenta)
        decay = math.exp(-settings.timestep / settings.barostat_time)
        normal, _ = common_noise(settings.seed, done, 1.0)
        spread = math.sqrt(thermal * (1.0 - decay**2) * self._mass)
        self._momentum = self._momentum * decay + spread * normal

    def _force_on_cell(self, held: Held) -> float:
        """What drives the logarithm of the cell's length, eV; their eq. 6 for a cell that keeps its shape."""
        twice_kinetic = 2.0 * self._total(kinetic_energy(held.atoms))
        pressure = self._settings.pressure * units.GPa
        work = self._total(held.virial) + 3.0 * pressure * held.volume
        return (1.0 + 3.0 / self._free) * twice_kinetic - work
