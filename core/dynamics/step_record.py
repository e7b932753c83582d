"""The numbers of one step: what the log holds and the guards look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError

from halocline.graph.structure import volume_of
from halocline.shares import timed

#: The columns of the log, in order; the last two are empty unless the structure is periodic in 3 directions,
#: and the pressure also where the calculator has no stress.
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
#: Columns that follow where the model is a committee.
SPREAD_COLUMNS = ("energy_std_eV", "max_force_std_eV_per_A")


@final
@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of a run.

    Attributes:
        step: number of the step; 0 is the start.
        time: fs.
        potential: potential energy in eV.
        kinetic: kinetic energy in eV.
        temperature: K, from the kinetic energy and the free degrees of freedom.
        pressure: GPa with its kinetic part; None unless periodic in three directions, and without a stress.
        volume: Å³; None unless periodic in three directions.
        spread: of the members of a committee: of the energy in eV, and the largest of a force in eV/Å, as
            `halocline.evaluator.result.Spread` has them; None of other models.
    """

    step: int
    time: float
    potential: float
    kinetic: float
    temperature: float
    pressure: float | None
    volume: float | None
    spread: tuple[float, float] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the log."""
        return COLUMNS if self.spread is None else COLUMNS + SPREAD_COLUMNS

    def row(self) -> list[str]:
        """The fields of a line of the log; floats keep every digit, None is empty."""
        total = self.potential + self.kinetic
        values = (self.time, self.potential, self.kinetic, total, self.temperature, self.pressure, self.volume)
        every = (*values, *(self.spread or ()))
        return [str(self.step)] + ["" if value is None else repr(float(value)) for value in every]


@timed("guards")
def measure(atoms: Atoms, step: int, timestep: float) -> StepRecord:
    """Read the numbers of a step; the calculator has its results already, nothing is computed anew.

    Args:
        atoms: with a calculator that holds the results of this step.
        step: number of the step.
        timestep: fs.
    """
    kinetic = atoms.get_kinetic_energy()
    free = atoms.get_number_of_degrees_of_freedom()
    volume = volume_of(atoms.cell.array) if all(atoms.pbc.tolist()) else None
    pressure = None if volume is None else static_pressure(atoms)
    if pressure is not None and volume is not None:
        pressure += 2.0 * kinetic / (3.0 * volume) / units.GPa
    return StepRecord(
        step=step,
        time=step * timestep,
        potential=float(result(atoms, "energy")),
        kinetic=kinetic,
        temperature=2.0 * kinetic / (free * units.kB) if free else 0.0,
        pressure=pressure,
        volume=volume,
        spread=_spread(atoms),
    )


def _spread(atoms: Atoms) -> tuple[float, float] | None:
    spread = getattr(atoms.calc, "spread", None)
    return None if spread is None else (spread.energy, float(spread.forces.max()))


def static_pressure(atoms: Atoms) -> float | None:
    """Pressure in GPa without its kinetic part, of a structure that is periodic in three directions.

    None of calculators that have no stress, such as those of models that say forces and nothing else.
    """
    try:
        stress = np.asarray(result(atoms, "stress"))
    except PropertyNotImplementedError:
        return None
    trace = np.trace(stress) if stress.shape == (3, 3) else stress[:3].sum()
    return float(-trace / 3.0 / units.GPa)


def result(atoms: Atoms, name: str) -> Any:
    """What the calculator found for these atoms, without constraints applied.

    ASE's own getters compare all atoms with those of the last call each time, which would cost more than the
    integration itself; here the integrator has just made sure that the results are of this step.
    """
    stored = getattr(atoms.calc, "results", {}).get(name)
    return atoms.calc.get_property(name, atoms) if stored is None else stored
