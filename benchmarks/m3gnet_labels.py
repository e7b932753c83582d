"""Errors of MatGL's published potentials against labels that they were not trained on.

    python benchmarks/m3gnet_labels.py FOLDER DATA [--every 1]

FOLDER holds the folders of the potentials, DATA those of the data sets; what is not there is left out. Each model
is tried on the sets whose elements it knows. Energies of two codes have different zeros, so their mean difference
per atom, one for each set, is taken off; what remains are errors of energy differences. Labels are of other codes,
functionals or basis sets than the models' own, and the errors contain that.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.io import read
from m3gnet_converted import converted
from numpy.typing import NDArray

from halocline.potential.potential import Potential

#: CCSD(T) energies and forces of ethanol are in kcal/mol.
KCAL = units.kcal / units.mol


class Labelled(NamedTuple):
    """A structure, its energy in eV, and its forces (N, 3) in eV/Å."""

    atoms: Atoms
    energy: float
    forces: NDArray[np.float64]


def copper(data: Path) -> list[Labelled]:
    """Bulk, vacancies, strained cells and surfaces; PBE, in VASP."""
    frames = read(data / "mlearn_Cu" / "Cu_test.xyz", ":")
    return [Labelled(atoms, atoms.get_potential_energy(), atoms.get_forces()) for atoms in frames]


def barium_titanate(data: Path) -> list[Labelled]:
    """Cells of 135 atoms; PBE, in Quantum ESPRESSO. The energy is among the comments."""
    frames = read(data / "batio3_allegro_pol" / "BaTiO3.xyz", ":")
    return [Labelled(atoms, atoms.info["total_energy"], atoms.get_forces()) for atoms in frames]


def ethanol(data: Path) -> list[Labelled]:
    """The molecule; CCSD(T)/cc-pVTZ."""
    with np.load(data / "ethanol_ccsd_t" / "ethanol_ccsd_t-train.npz", allow_pickle=False) as file:
        numbers, positions = file["z"], file["R"]
        energies, forces = file["E"].reshape(-1) * KCAL, file["F"] * KCAL
    return [Labelled(Atoms(numbers, r), float(e), f) for r, e, f in zip(positions, energies, forces, strict=True)]


SETS: dict[str, Callable[[Path], list[Labelled]]] = {
    "Cu": copper,
    "BaTiO3": barium_titanate,
    "ethanol": ethanol,
}


def errors(potential: Potential, frames: list[Labelled]) -> tuple[float, float, float]:
    """MAE of energy differences in meV/atom, MAE of forces and mean |F| of the labels in meV/Å."""
    results = [potential(frame.atoms, dtype="float32", device="cpu") for frame in frames]
    excess = np.array(
        [(r.energy - f.energy) / len(f.atoms) for r, f in zip(results, frames, strict=True)], np.float64
    )
    wrong = np.concatenate([(r.forces - f.forces).ravel() for r, f in zip(results, frames, strict=True)])
    labels = np.concatenate([f.forces.ravel() for f in frames])
    return 1e3 * float(abs(excess - excess.mean()).mean()), 1e3 * abs(wrong).mean(), 1e3 * abs(labels).mean()


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take one of so many structures")
    arguments = parser.parse_args()
    print("model                              set      structures  energy meV/atom  forces meV/Å  mean |F| meV/Å")
    for folder in sorted(path.parent for path in arguments.folder.glob("*/model.json")):
        potential = converted(folder)
        for name, labelled in SETS.items():
            try:
                frames = labelled(arguments.data)[:: arguments.every]
            except FileNotFoundError as missing:
                print(f"{name} is left out: {missing}")
                continue
            if not set(frames[0].atoms.symbols) <= set(potential.species):
                continue
            energy, force, size = errors(potential, frames)
            print(
                f"{folder.name:33}  {name:8} {len(frames):9}  {energy:15.1f}  {force:12.0f}  {size:14.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
