"""Structures that everybody is timed on, by name, of about any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.data import atomic_numbers
from ase.io import read

from halocline.bench.structures import TEMPERATURE, TIMESTEP, repeated
from halocline.graph import Radius, Structure
from halocline.graph.neighbours import search

#: Å: a lattice of silicon pressed together until the fifth shell of neighbours lies at 6 Å, so that 57.7 atoms on
#: average are nearer once atoms have left their sites by `RATTLE`.
PRESSED_SILICON: Final = 4.9

#: Å, the standard deviation of each coordinate.
RATTLE: Final = 0.05

#: Elements that are laid at random on the sites of the pressed silicon.
FOUR: Final = ("C", "O", "Si", "Ge")


def _silicon(atoms: int) -> Atoms:
    return repeated(bulk("Si", "diamond", a=PRESSED_SILICON, cubic=True), atoms)


def _four(atoms: int) -> Atoms:
    found = _silicon(atoms)
    found.symbols = np.random.default_rng(0).permutation(np.resize(FOUR, len(found)))
    return found


def _water(atoms: int) -> Atoms:
    liquid = read(Path(__file__).parents[2] / "examples" / "water.extxyz")
    assert isinstance(liquid, Atoms)
    return repeated(liquid, atoms)


STRUCTURES: Final[dict[str, Callable[[int], Atoms]]] = {
    "silicon": _silicon,
    "four-species": _four,
    "diamond": lambda atoms: repeated(bulk("C", "diamond", a=3.567, cubic=True), atoms),
    "copper": lambda atoms: repeated(bulk("Cu", "fcc", a=3.61, cubic=True), atoms),
    "water": _water,
    "magnesia": lambda atoms: repeated(bulk("MgO", "rocksalt", a=4.21, cubic=True), atoms),
}


def structure(name: str, atoms: int) -> Atoms:
    """A periodic structure of that many atoms, or the next number that its unit allows."""
    found = STRUCTURES[name](atoms)
    if name != "water":
        found.positions += np.random.default_rng(1).normal(0.0, RATTLE, found.positions.shape)
    return found


def elements(name: str) -> tuple[int, ...]:
    """Atomic numbers in a structure, in order."""
    return tuple(sorted({atomic_numbers[symbol] for symbol in structure(name, 8).get_chemical_symbols()}))


def neighbours(atoms: Atoms, cutoff: float) -> float:
    """Within the cutoff, on average."""
    edges, _ = search(Radius(cutoff), Structure.from_atoms(atoms))
    return len(edges.receivers) / len(atoms)


def write(atoms: Atoms, path: Path) -> float:
    """Write a structure with the way that its atoms go in one step of free flight, for `steps/serve.py`.

    Returns:
        Å, the longest of these ways.
    """
    speeds = np.sqrt(TEMPERATURE * units.kB / atoms.get_masses())[:, None]
    moved = np.random.default_rng(2).normal(size=(len(atoms), 3)) * speeds * (TIMESTEP * units.fs)
    np.savez(path, numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, moved=moved)
    return float(np.linalg.norm(moved, axis=1).max())
