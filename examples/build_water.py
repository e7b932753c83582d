"""Build a periodic box of liquid water and equilibrate it with a model; makes ``examples/water.extxyz``.

    python examples/build_water.py examples/water.extxyz

Molecules in the gas-phase geometry of ASE stand on a cubic grid in random orientations, at the density of water at
300 K and 1 bar. The model then relaxes the worst contacts and equilibrates the box at constant volume.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import FIRE

import halocline

DENSITY = 0.9965  # g/cm³, water at 300 K and 1 bar
TEMPERATURE = 300.0  # K


def grid_of_molecules(per_edge: int, rng: np.random.Generator) -> Atoms:
    """Place per_edge³ molecules on a grid, each turned at random."""
    water = molecule("H2O")
    water.positions -= water.get_center_of_mass()
    grams = water.get_masses().sum() / units.kg * 1e3
    spacing = (grams / DENSITY * 1e24) ** (1 / 3)
    box = Atoms(cell=[per_edge * spacing] * 3, pbc=True)
    for corner in np.ndindex(per_edge, per_edge, per_edge):
        turned = water.copy()
        turned.rotate(rng.uniform(0, 360), rng.normal(size=3))
        turned.positions += (np.array(corner) + 0.5) * spacing
        box += turned
    return box


def equilibrate(box: Atoms, model: str, picoseconds: float, rng: np.random.Generator) -> None:
    """Relax the worst contacts, then heat with a strong Langevin thermostat."""
    box.calc = halocline.load(model).calculator()
    FIRE(box, logfile=None).run(fmax=1.0, steps=200)
    thermalize_momenta(box, TEMPERATURE, rng=rng)
    timestep = 0.5
    dynamics = Langevin(
        box, timestep * units.fs, temperature_K=TEMPERATURE, friction=0.02 / units.fs, fixcm=False, rng=rng
    )
    steps = round(1000 * picoseconds / timestep)
    dynamics.attach(lambda: report(dynamics.nsteps, steps, box), interval=500)
    dynamics.run(steps)


def report(step: int, steps: int, box: Atoms) -> None:
    """Show how far it is."""
    sys.stderr.write(f"step {step} of {steps}: {box.get_temperature():.0f} K\n")


def main() -> None:
    """Build, equilibrate and write the box with its velocities."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="water-revpbe0d3-schnet")
    parser.add_argument("--per-edge", type=int, default=4, help="molecules along each edge")
    parser.add_argument("--time", type=float, default=3.0, help="equilibration, ps")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    box = grid_of_molecules(arguments.per_edge, rng)
    equilibrate(box, arguments.model, arguments.time, rng)
    box.calc = None
    write(arguments.output, box, format="extxyz")


if __name__ == "__main__":
    main()
