"""Lattice constants of cubic crystals, relaxed, beside those in the README of the published potential.

    PYTHONPATH=tests python benchmarks/m3gnet_lattice.py FOLDER [--every 7]

FOLDER holds MatGL's M3GNet-MP-2021.2.8-PES with its README. Each crystal starts at the constant of the Materials
Project that the table gives, and cell and atoms are relaxed as `halocline relax --cell` does it, in float64. The
last column, the pressure at the published constant, shows how near to zero the published relaxation came.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from m3gnet_converted import converted
from oracles.m3gnet.lattice_table import Row, read_table

from halocline.dynamics.goal import Goal
from halocline.dynamics.relaxation import relax
from halocline.dynamics.step_record import static_pressure
from halocline.potential.calculator import HaloclineCalculator

#: Å, a deviation that is named.
BOUND = 1e-3

#: eV/Å. A constant is then good to 1e-4 Å where the bulk modulus is 10 GPa.
GOAL = Goal(fmax=1e-4, max_steps=300, cell=True)


class Found(NamedTuple):
    """A row after relaxation: the lattice constant in Å, steps, and GPa at the published constant."""

    a: float
    steps: int
    converged: bool
    pressure: float


def relaxed(row: Row, calculator: HaloclineCalculator) -> Found:
    """Relax one crystal."""
    published = row.atoms(row.a)
    published.calc = calculator
    published.get_stress()
    pressure = static_pressure(published)
    with TemporaryDirectory() as folder:
        files = {"path": Path(folder) / "frames.extxyz", "log": Path(folder) / "log.csv"}
        atoms, progress = relax(row.atoms(row.start), calculator, GOAL, **files)
    a = (atoms.get_volume() / row.atoms(1.0).get_volume()) ** (1 / 3)
    return Found(a, progress.step, progress.converged, pressure)


def main() -> None:
    """Relax and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take one of so many rows")
    arguments = parser.parse_args()
    calculator = converted(arguments.folder).calculator(dtype="float64", device="cpu")
    print("material     lattice             start Å  published Å  relaxed Å  deviation Å  steps  pressure GPa")
    deviations: dict[str, float] = {}
    for row in list(read_table(arguments.folder / "README.md"))[:: arguments.every]:
        found = relaxed(row, calculator)
        name, deviation = f"{row.material} ({row.lattice})", found.a - row.a
        deviations[name] = abs(deviation)
        print(
            f"{row.material:12} {row.lattice:18} {row.start:8.5f}  {row.a:11.5f}  {found.a:9.5f}"
            f"  {deviation:+11.5f}  {found.steps:5}  {found.pressure:+12.4f}"
            f"{'' if found.converged else '  not converged'}",
            flush=True,
        )
    exceptions = [name for name, deviation in deviations.items() if deviation > BOUND]
    print(f"median deviation  {np.median(list(deviations.values())):.1e} Å over {len(deviations)} crystals")
    print(f"beyond {BOUND} Å     {len(exceptions)}: {', '.join(exceptions) or 'none'}")


if __name__ == "__main__":
    main()
