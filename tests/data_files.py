"""Water clusters, labelled by formulas, in every layout that labelled structures come in."""

from pathlib import Path

import ase.db
import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

KCAL_PER_MOL = units.kcal / units.mol

#: An oxygen and two hydrogens: what these files are made of.
WATER = molecule("H2O").positions


def clusters(sizes, seed=0):
    """Clusters of so many waters each, in eV and Å; energy and forces belong to springs to a lattice."""
    generator = np.random.default_rng(seed)
    frames = []
    for waters in sizes:
        places = np.repeat(3.0 * np.arange(waters), 3)[:, None] * [1.0, 0.0, 0.0]
        ideal = np.tile(WATER, (waters, 1)) + places
        moved = generator.normal(scale=0.05, size=ideal.shape).astype(np.float32)  # as files of PNNL hold them
        positions = (ideal + moved).astype(np.float32).astype(np.float64)
        away = positions - ideal
        away -= away.mean(0)  # so that forces add up to zero
        atoms = Atoms("OHH" * waters, positions)
        atoms.calc = SinglePointCalculator(
            atoms, energy=5.0 * (away**2).sum() - 10.0 * waters, forces=-10.0 * away
        )
        frames.append(atoms)
    return frames


def write_hdf5(path, frames, most=30, **other):
    """The layout of PNNL: gradients in kcal/mol/Å, padded; ``other`` replaces or, if None, removes data."""
    import h5py

    count = len(frames)
    data = {
        "z": np.zeros((count, most * 3), np.uint8),
        "x": np.zeros((count, most * 3, 2), np.uint8),
        "pos": np.zeros((count, most * 3, 3), np.float32),
        "y": np.zeros((count, 1), np.float64),
        "f": np.zeros((count, most * 3, 3), np.float64),
        "size": np.zeros((count, 1), np.uint8),
    }
    for i, atoms in enumerate(frames):
        atoms_of_frame = len(atoms)
        data["z"][i, :atoms_of_frame] = atoms.numbers
        data["pos"][i, :atoms_of_frame] = atoms.positions
        data["y"][i] = atoms.calc.results["energy"] / KCAL_PER_MOL
        data["f"][i, :atoms_of_frame] = -atoms.calc.results["forces"] / KCAL_PER_MOL
        data["size"][i] = atoms_of_frame // 3
    with h5py.File(path, "w") as file:
        for name, values in {**data, **other}.items():
            if values is not None:
                file[name] = values


def write_database(path, frames):
    """An ASE database whose labels are data of the rows, in kcal/mol, as that of PNNL's scripts."""
    with ase.db.connect(path) as database:
        for atoms in frames:
            energy, forces = (atoms.calc.results[name] / KCAL_PER_MOL for name in ("energy", "forces"))
            bare = Atoms(atoms.numbers, atoms.positions)
            database.write(bare, data={"energy": energy, "forces": forces})


def write_in(path: Path, frames, energy=1.0, length=1.0, sign=1.0):
    """Extended XYZ or a trajectory in units of so many eV and Å, of forces or (-1) gradients."""
    written = []
    for atoms in frames:
        other = Atoms(atoms.numbers, atoms.positions / length, cell=atoms.cell / length, pbc=atoms.pbc)
        results = {
            "energy": atoms.calc.results["energy"] / energy,
            "forces": sign * atoms.calc.results["forces"] / energy * length,
        }
        if "stress" in atoms.calc.results:
            results["stress"] = atoms.calc.results["stress"] / energy * length**3
        other.calc = SinglePointCalculator(other, **results)
        written.append(other)
    ase.io.write(path, written)
