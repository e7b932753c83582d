"""Conservation of energy of the shipped water box, beside the force error it has to be judged against.

    python benchmarks/nve_drift.py [--time 10] [--dtype float32]

Equilibrates briefly at 300 K, then integrates at constant energy with a step of 0.5 fs and fits a line to the
total energy. A conservative potential with a smooth cutoff should drift by no more than 0.1 meV/atom/ps. The force
error printed beside it is the one on the card, measured on frames that training never saw.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

import halocline

BOX = Path(__file__).parents[1] / "examples" / "water.extxyz"
BOUND = 0.1  # meV/atom/ps
TIMESTEP = 0.5  # fs
TEMPERATURE = 300.0  # K
EQUILIBRATION = 1000  # steps


def total_energies(
    model: str,
    dtype: str,
    picoseconds: float,
    *,
    structure: Path = BOX,
    equilibration: int = EQUILIBRATION,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (M,) in ps, total and kinetic energies (M,) in meV/atom along the run.

    Args:
        model: of the zoo, or a file.
        dtype: of the network.
        picoseconds: at constant energy.
        structure: a file, of which the first frame is taken.
        equilibration: steps before.
    """
    atoms, rng = read(structure, 0), np.random.default_rng(0)
    atoms.calc = halocline.load(model).calculator(dtype=dtype)
    thermalize_momenta(atoms, TEMPERATURE, rng=rng)
    Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=TEMPERATURE, friction=0.02 / units.fs, fixcm=False, rng=rng
    ).run(equilibration)
    rows: list[tuple[float, float, float]] = []
    dynamics = VelocityVerlet(atoms, TIMESTEP * units.fs)

    def record() -> None:
        kinetic = atoms.get_kinetic_energy()
        rows.append((dynamics.nsteps * TIMESTEP / 1000, atoms.get_potential_energy() + kinetic, kinetic))

    dynamics.attach(record, interval=1)
    dynamics.run(round(1000 * picoseconds / TIMESTEP))
    times, total, kinetic = np.array(rows).T
    return times, 1000 * total / len(atoms), 1000 * kinetic / len(atoms)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="water-revpbe0d3-schnet")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--time", type=float, default=10.0, help="ps")
    arguments = parser.parse_args()
    times, total, kinetic = total_energies(arguments.model, arguments.dtype, arguments.time)
    slope, offset = np.polyfit(times, total, 1)
    verdict = "ok" if abs(slope) <= BOUND else "EXCEEDED"
    fluctuation = float(np.std(total - (slope * times + offset)))
    card = halocline.load(arguments.model).card
    print(f"model                 {arguments.model} ({arguments.dtype}), NVE, {TIMESTEP} fs, {times[-1]:.1f} ps")
    print(f"fitted energy slope   {slope:+.4f} meV/atom/ps (bound {BOUND}): {verdict}")
    print(
        f"fluctuation           {fluctuation:.4f} meV/atom, of the kinetic energy {np.std(kinetic):.4f} meV/atom"
    )
    print(f"|drift| / std(kinetic) {abs(slope) * times[-1] / np.std(kinetic):.4f}")
    print(f"mean temperature      {2 * kinetic.mean() / 1000 / 3 / units.kB:.1f} K")
    print(f"measured errors       {card.get('errors')}")


if __name__ == "__main__":
    main()
