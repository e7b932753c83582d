"""Random structures of every kind of cell, for property tests."""

from __future__ import annotations

import numpy as np
from ase import Atoms

#: How far apart atoms are kept, Å, so that no property is tested where forces are singular.
APART = 0.9


def random_structure(seed, *, symbols=("H", "O"), atoms=12, pbc=None, edge=(4.0, 9.0), outside=True):
    """A random triclinic cell with random periodicity and atoms in and outside of it."""
    rng = np.random.default_rng(seed)
    periodic = rng.integers(0, 2, 3).astype(bool) if pbc is None else np.broadcast_to(pbc, 3)
    cell = _random_cell(rng, edge)
    low, high = (-1.0, 2.0) if outside else (0.0, 1.0)
    structure = Atoms(cell=cell, pbc=periodic)
    for _ in range(40 * atoms):
        trial = structure + Atoms(rng.choice(symbols), positions=[rng.uniform(low, high, 3) @ cell])
        trial.pbc, trial.cell = periodic, cell
        if len(trial) == 1 or trial.get_distances(-1, range(len(trial) - 1), mic=True).min() > APART:
            structure = trial
        if len(structure) == atoms:
            break
    return structure


def _random_cell(rng, edge):
    """Lattice vectors of random length and angle, never close to flat."""
    while True:
        cell = rng.normal(size=(3, 3))
        cell *= rng.uniform(*edge, 3)[:, None] / np.linalg.norm(cell, axis=1)[:, None]
        if abs(np.linalg.det(cell)) > 0.3 * np.prod(np.linalg.norm(cell, axis=1)):
            return cell
