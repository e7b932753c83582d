"""The numbers of one step: what the log holds and the guards look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ase import Atoms, units

#: The columns of the log, in order; the last two are empty unless the structure is periodic in 3 directions.
COLUMNS = (
    "step",
    "time_fs",
    "potential_eV",
    "kinetic_eV",
    "total_eV",
    "temperature_K",
    "pressure_GPa",
    "volume_A3",
)


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """One step of a run.

    Attributes:
        step: number of the step; 0 is the start.
        time: fs.
        potential: potential energy in eV.
        kinetic: kinetic energy in eV.
        temperature: K, from the kinetic energy and the free degrees of freedom.
        pressure: GPa with its kinetic part; None unless periodic in three directions.
        volume: Å³; None unless periodic in three directions.
    """

    step: int
    time: float
    potential: float
    kinetic: float
    temperature: float
    pressure: float | None
    volume: float | None

    def row(self) -> list[str]:
        """The fields of a line of the log; floats keep every digit, None is empty."""
        total = self.potential + self.kinetic
        values = (self.time, self.potential, self.kinetic, total, self.temperature, self.pressure, self.volume)
        return [str(self.step)] + ["" if value is None else repr(float(value)) for value in values]


def measure(atoms: Atoms, step: int, timestep: float) -> Sample:
    """Read the numbers of a step; the calculator has its results already, nothing is computed anew.

    Args:
        atoms: with a calculator.
        step: number of the step.
        timestep: fs.
    """
    kinetic = atoms.get_kinetic_energy()
    free = atoms.get_number_of_degrees_of_freedom()
    periodic = bool(atoms.pbc.all())
    return Sample(
        step=step,
        time=step * timestep,
        potential=float(atoms.get_potential_energy()),
        kinetic=kinetic,
        temperature=2.0 * kinetic / (free * units.kB) if free else 0.0,
        pressure=pressure(atoms) if periodic else None,
        volume=atoms.get_volume() if periodic else None,
    )


def pressure(atoms: Atoms) -> float:
    """Pressure in GPa with its kinetic part, of a structure that is periodic in three directions."""
    stress = atoms.get_stress(voigt=True, include_ideal_gas=True)
    return float(-stress[:3].sum() / 3.0 / units.GPa)
