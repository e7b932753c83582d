"""Random crystals and molecules of hydrogen, carbon and oxygen."""

from __future__ import annotations

import numpy as np
from ase import Atoms

#: How near atoms may come, Å.
APART = 0.85


def structures() -> dict[str, Atoms]:
    """The same ones everywhere: three crystals and two molecules."""
    found = {}
    for number in range(5):
        rng = np.random.default_rng([7, number])
        periodic = number < 3
        cell = np.diag(rng.uniform(4.0, 5.0, 3)) + rng.uniform(-0.5, 0.5, (3, 3))
        atoms = Atoms(cell=cell if periodic else None, pbc=periodic)
        while len(atoms) < 7:
            trial = atoms + Atoms(
                [int(rng.choice([1, 6, 8]))], [rng.random(3) @ cell * (1.0 if periodic else 0.7)]
            )
            trial.cell, trial.pbc = atoms.cell, atoms.pbc
            if len(trial) == 1 or trial.get_distances(-1, range(len(trial) - 1), mic=periodic).min() > APART:
                atoms = trial
        found[f"{'crystal' if periodic else 'molecule'}-{number}"] = atoms
    return found
