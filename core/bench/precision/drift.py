"""How well the total energy is kept in the NVE ensemble."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from halocline.dynamics import RunFiles, Settings, StepRecord, run_dynamics

#: fs, which resolves vibrations of hydrogen.
TIMESTEP: Final = 0.5

#: K, of the velocities at the start.
TEMPERATURE: Final = 300.0


@final
@dataclass(frozen=True, slots=True)
class Drift:
    """A straight line through the total energy.

    Attributes:
        drift: meV per atom and ps, its slope.
        error: of the slope, likewise, as if steps were independent in blocks of `BLOCKS`.
        fluctuation: meV per atom, root of the mean square of what is left.
        picoseconds: that it was followed over.
        temperature: K, mean.
    """

    drift: float
    error: float
    fluctuation: float
    picoseconds: float
    temperature: float


#: Parts of a run whose slopes are compared to tell how certain that of the whole is.
BLOCKS: Final = 4


def nve_drift(atoms: Atoms, calculator: BaseCalculator, picoseconds: float) -> Drift:
    """Run dynamics as ``halocline md --ensemble nve`` does; its files go into a folder that is removed again.

    Args:
        atoms: the start; velocities are drawn.
        calculator: of the forces, which need be no derivatives.
        picoseconds: to run.

    Raises:
        DynamicsError: the run had to stop.
    """
    steps = max(2 * BLOCKS, round(1e3 * picoseconds / TIMESTEP))
    settings = Settings(
        ensemble="nve", temperature=TEMPERATURE, timestep=TIMESTEP, frame_interval=steps, log_interval=steps
    )
    records: list[StepRecord] = []
    with tempfile.TemporaryDirectory() as folder:
        run_dynamics(
            atoms,
            calculator,
            settings,
            RunFiles(Path(folder) / "nve"),
            steps=steps,
            checkpoint_interval=steps,
            direct_forces=True,
            on_step=records.append,
        )
    times = np.array([1e-3 * each.time for each in records])
    energies = np.array([1e3 * (each.potential + each.kinetic) / len(atoms) for each in records])
    return _fit(times, energies, float(np.mean([each.temperature for each in records])))


def _fit(times: NDArray[np.float64], energies: NDArray[np.float64], temperature: float) -> Drift:
    """A line through energies (T,) in meV per atom over times (T,) in ps."""
    slope, level = np.polyfit(times, energies, 1)
    left = energies - (slope * times + level)
    # Of a line over a run, parts of 1/B of its length tell the slope B^1.5 times less well.
    slopes = [
        np.polyfit(t, e, 1)[0]
        for t, e in zip(np.array_split(times, BLOCKS), np.array_split(energies, BLOCKS), strict=True)
    ]
    error = float(np.std(slopes, ddof=1)) / BLOCKS**1.5
    return Drift(float(slope), error, float(left.std()), float(times[-1] - times[0]), temperature)
