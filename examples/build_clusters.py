"""Cut clusters out of hot water and label their energies; makes ``examples/clusters.extxyz``.

    python examples/build_clusters.py examples/hot_water.extxyz examples/clusters.extxyz

Each has one to six molecules that lie next to each other. The shipped MACE of liquid water labels them, which
knows nothing of surfaces: numbers to show a fit with, and no more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.io import read, write

import halocline

LABELLED_WITH = "water-revpbe0d3-mace"
LARGEST = 6  # molecules


def main() -> None:
    """Cut, label and write the clusters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="periodic boxes of water, each molecule as O, H, H")
    parser.add_argument("output", type=Path)
    parser.add_argument("--clusters", type=int, default=80)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    boxes = read(arguments.source, ":")
    potential = halocline.load(LABELLED_WITH)
    clusters = []
    for place in range(arguments.clusters):
        cluster = cut(boxes[place % len(boxes)], int(rng.integers(1, LARGEST + 1)), rng)
        cluster.calc = SinglePointCalculator(cluster, energy=potential(cluster, device="cpu").energy)
        clusters.append(cluster)
    write(arguments.output, clusters, format="extxyz")


def cut(box: Atoms, molecules: int, rng: np.random.Generator) -> Atoms:
    """A molecule drawn at random and those that are nearest to it, without a cell."""
    oxygens = box.positions[::3]
    around, distances = find_mic(oxygens - oxygens[rng.integers(len(oxygens))], box.cell, box.pbc)
    atoms = Atoms()
    for place in np.argsort(distances)[:molecules]:
        molecule = box.positions[3 * place : 3 * place + 3]
        shape, _ = find_mic(molecule - molecule[0], box.cell, box.pbc)
        atoms += Atoms("OHH", around[place] + shape)
    return atoms


if __name__ == "__main__":
    main()
