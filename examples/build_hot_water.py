"""Sample hot water with one model and label it with another; makes ``examples/hot_water.extxyz``.

    python examples/build_hot_water.py examples/hot_water.extxyz

The shipped SchNet samples 8 molecules at 700 K. The shipped MACE, fitted to the same level of theory, labels them:
these are labels of a better model, no more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import FIRE
from build_water import grid_of_molecules

import halocline

SAMPLED_WITH, LABELLED_WITH = "water-revpbe0d3-schnet", "water-revpbe0d3-mace"
TEMPERATURE = 700.0  # K
APART = 200  # fs between frames


def main() -> None:
    """Sample, label and write the frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--frames", type=int, default=32)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    box = grid_of_molecules(2, rng)
    box.calc = halocline.load(SAMPLED_WITH).calculator(device="cpu")
    FIRE(box, logfile=None).run(fmax=1.0, steps=200)
    thermalize_momenta(box, TEMPERATURE, rng=rng)
    timestep = 0.5
    dynamics = Langevin(
        box, timestep * units.fs, temperature_K=TEMPERATURE, friction=0.02 / units.fs, fixcm=False, rng=rng
    )
    potential = halocline.load(LABELLED_WITH)
    frames = []
    for _ in range(arguments.frames):
        dynamics.run(round(APART / timestep))
        frame = box.copy()
        frame.set_momenta(None)
        frame.arrays.pop("momenta", None)
        frame.wrap()
        result = potential(frame, device="cpu")
        frame.calc = SinglePointCalculator(frame, energy=result.energy, forces=result.forces)
        frames.append(frame)
    write(arguments.output, frames, format="extxyz")


if __name__ == "__main__":
    main()
