"""Structures of any size to time a model on, and atoms that move as in dynamics."""

from __future__ import annotations

from typing import final

import numpy as np
from ase import Atoms, units

from halocline.errors import StructureError

#: Atoms leave their lattice sites by at most this part of the spacing in each direction.
JITTER = 0.15

#: Of the velocities (K), and the time between two steps (fs).
TEMPERATURE, TIMESTEP = 300.0, 0.5


def disordered_box(species: tuple[str, ...], atoms: int, density: float) -> Atoms:
    """Make a periodic cube of a model's species, in equal shares.

    Atoms sit near the sites of a cubic lattice, some sites stay empty, and all of it follows from the arguments.

    Args:
        species: chemical symbols.
        atoms: how many, exactly.
        density: atoms/Å³.
    """
    rng = np.random.default_rng(0)
    edge = (atoms / density) ** (1 / 3)
    count = int(np.ceil(round(atoms ** (1 / 3), 9)))
    sites = np.stack(np.meshgrid(*3 * [np.arange(count)], indexing="ij"), -1).reshape(-1, 3)
    chosen = rng.permutation(len(sites))[:atoms]
    positions = (sites[np.sort(chosen)] + rng.uniform(-JITTER, JITTER, (atoms, 3))) * edge / count
    symbols = rng.permutation(np.resize(species, atoms))
    return Atoms(list(symbols), positions=positions, cell=3 * [edge], pbc=True)


def repeated(unit: Atoms, atoms: int) -> Atoms:
    """Repeat a structure along its periodic directions until it has so many atoms, as cubic as it can be.

    Raises:
        StructureError: it has fewer, and is periodic in no direction.
    """
    if len(unit) < atoms and not unit.pbc.any():
        raise StructureError(f"The structure has {len(unit)} atoms and no periodicity; it cannot become {atoms}.")
    counts = np.ones(3, int)
    lengths = np.where(unit.pbc, unit.cell.lengths(), np.inf)
    while len(unit) * counts.prod() < atoms:
        counts[np.argmin(counts * lengths)] += 1
    larger: Atoms = unit.repeat(counts)
    return larger


@final
class Motion:
    """Atoms in free flight with thermal velocities: neighbour lists live as long as in dynamics.

    Args:
        atoms: the start; stays as it is.
    """

    def __init__(self, atoms: Atoms) -> None:
        speeds = np.sqrt(TEMPERATURE * units.kB / atoms.get_masses())[:, None]
        self._velocities = np.random.default_rng(1).normal(size=(len(atoms), 3)) * speeds
        self._start, self._steps = atoms, 0

    def step(self) -> Atoms:
        """The structure after one more step."""
        self._steps += 1
        moved: Atoms = self._start.copy()
        moved.positions += self._velocities * (self._steps * TIMESTEP * units.fs)
        return moved
