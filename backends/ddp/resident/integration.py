"""Integrators of atoms that ranks own: the formulas of ASE's, on nothing but one's own atoms.

Momenta are in ASE's unit √(amu·eV), times in Å·√(amu/eV), as ASE has them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Protocol, final

import numpy as np
from ase import units
from numpy.typing import NDArray

from halocline.backends.ddp.resident.counter_random import common_noise, normals
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.dynamics.settings import Settings


class Held(NamedTuple):
    """The atoms of a rank and what acts on them.

    Attributes:
        atoms: n of them.
        forces: (n, 3) eV/Å.
        virial: eV, trace of the derivative of the energy of this rank by a uniform strain, or of what the model
            says that it is; 0 of models that have none, which move no cell.
        volume: Å³, of the cell.
        pull: (3,) in ASE's unit, by which forces would accelerate a centre of mass that is to be still; None where
            it may move, or forces add up to nothing.
    """

    atoms: OwnedAtoms
    forces: NDArray[np.float64]
    virial: float = 0.0
    volume: float = 0.0
    pull: NDArray[np.float64] | None = None


class Evaluate(Protocol):
    """Finds forces where atoms are now. They may go to other ranks meanwhile, with momenta, and others come."""

    def __call__(self, atoms: OwnedAtoms, stretch: float = 1.0) -> Held:
        """What acts on them.

        Args:
            atoms: of this rank.
            stretch: by which the cell has become longer, and positions have been multiplied, in this step.
        """


#: Adds a number up over all ranks.
Total = Callable[[float], float]


class Integrator(ABC):
    """Moves atoms by one step of time. Arrays of the atoms are changed in place."""

    @abstractmethod
    def step(self, held: Held, done: int, evaluate: Evaluate) -> Held:
        """One step.

        Args:
            held: atoms, and the forces where they are.
            done: steps of the run before this one; random numbers and the bath's temperature follow from it.
            evaluate: finds forces.
        """

    @property
    def state(self) -> NDArray[np.float64]:
        """What the next step depends on beyond atoms, settings and the number of steps: usually nothing."""
        return np.empty(0)


@final
class VelocityVerlet(Integrator):
    """Swope et al., J. Chem. Phys. 76, 637 (1982).

    Args:
        timestep: in ASE's unit.
    """

    def __init__(self, timestep: float) -> None:
        self._timestep = timestep

    def step(self, held: Held, done: int, evaluate: Evaluate) -> Held:
        """See `Integrator.step`."""
        del done
        half = 0.5 * self._timestep
        kick(held, half)
        drift(held.atoms, self._timestep)
        held = evaluate(held.atoms)
        kick(held, half)
        return held


@final
class Bussi(Integrator):
    """Stochastic velocity rescaling, Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. A7.

    Args:
        settings: time step, relaxation time, temperature and seed.
        free: degrees of freedom of all atoms.
        total: adds up over ranks.
    """

    def __init__(self, settings: Settings, free: int, total: Total) -> None:
        self._settings, self._free, self._total = settings, free, total
        self._decay = math.exp(-settings.timestep / settings.relaxation_time)
        self._verlet = VelocityVerlet(settings.timestep * units.fs)

    def step(self, held: Held, done: int, evaluate: Evaluate) -> Held:
        """See `Integrator.step`."""
        kinetic = self._total(kinetic_energy(held.atoms))
        np.multiply(held.atoms.momenta, self._factor(kinetic, done), out=held.atoms.momenta)
        return self._verlet.step(held, done, evaluate)

    def _factor(self, kinetic: float, done: int) -> float:
        """By which all momenta are multiplied."""
        normal, others = common_noise(self._settings.seed, done, self._free - 1)
        target = 0.5 * units.kB * self._settings.bath_temperature(done) * self._free
        share = (1.0 - self._decay) * target / kinetic / self._free
        return math.sqrt(
            self._decay + share * (others + normal**2) + 2.0 * normal * math.sqrt(self._decay * share)
        )


@final
class Langevin(Integrator):
    """BAOAB splitting, Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013).

    Args:
        settings: time step, relaxation time, temperature and seed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timestep = settings.timestep * units.fs
        self._decay = math.exp(-settings.timestep / settings.relaxation_time)

    def step(self, held: Held, done: int, evaluate: Evaluate) -> Held:
        """See `Integrator.step`."""
        half, atoms = 0.5 * self._timestep, held.atoms
        kick(held, half)
        drift(atoms, half)
        thermal = units.kB * self._settings.bath_temperature(done) * (1.0 - self._decay**2)
        noise = normals(self._settings.seed, done, atoms.ids)
        noise *= np.sqrt(thermal * atoms.masses)[:, None]
        np.multiply(atoms.momenta, self._decay, out=atoms.momenta)
        np.add(atoms.momenta, noise, out=atoms.momenta)
        hold(atoms)
        drift(atoms, half)
        held = evaluate(atoms)
        kick(held, half)
        return held


def kinetic_energy(atoms: OwnedAtoms) -> float:
    """Of the atoms of this rank, eV."""
    return 0.5 * float((atoms.momenta**2 / atoms.masses[:, None]).sum())


def kick(held: Held, time: float) -> None:
    """Let forces act for a time, in ASE's unit."""
    np.add(held.atoms.momenta, time * held.forces, out=held.atoms.momenta)
    if held.pull is not None:
        np.subtract(held.atoms.momenta, time * held.atoms.masses[:, None] * held.pull, out=held.atoms.momenta)
    hold(held.atoms)


def hold(atoms: OwnedAtoms) -> None:
    """Take from fixed atoms the momentum that anything has given them, so that they fly nowhere."""
    atoms.momenta[atoms.fixed] = 0.0


def drift(atoms: OwnedAtoms, time: float) -> None:
    """Let atoms fly for a time, in ASE's unit."""
    np.add(atoms.positions, time * atoms.momenta / atoms.masses[:, None], out=atoms.positions)
