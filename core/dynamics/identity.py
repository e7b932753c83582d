"""What must be equal for a restart to continue the same run."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from ase import Atoms

from halocline.errors import DynamicsError


def structure_digest(atoms: Atoms) -> str:
    """SHA-256 of everything that a run takes from a structure: atoms, cell, velocities, fixed atoms."""
    digest = hashlib.sha256()
    for array in (atoms.numbers, atoms.get_masses(), atoms.positions, atoms.cell.array, atoms.get_momenta()):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(atoms.pbc.tobytes())
    digest.update(repr([constraint.todict() for constraint in atoms.constraints]).encode())
    return digest.hexdigest()


def check_same_options(stored: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse to continue a run with other options than it was started with.

    Raises:
        DynamicsError: names every option that differs, with both values.
    """
    names = sorted(stored.keys() | given.keys())
    changes = [
        f"{name.replace('_', ' ')} was {stored.get(name)}, now {given.get(name)}"
        for name in names
        if stored.get(name) != given.get(name)
    ]
    if changes:
        raise DynamicsError(
            f"The checkpoint belongs to a run with other options: {'; '.join(changes)}. "
            "Resume with the options of its start, or begin another run under another --output."
        )
