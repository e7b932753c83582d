"""What must be equal for a restart to continue the same run."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from halocline.digests import tensors_digest
from halocline.errors import DynamicsError

if TYPE_CHECKING:
    from halocline.potential.potential import Potential


def structure_digest(atoms: Atoms) -> str:
    """SHA-256 of everything that a run takes from a structure: atoms, cell, velocities, fixed atoms."""
    digest = hashlib.sha256()
    for array in (atoms.numbers, atoms.get_masses(), atoms.positions, atoms.cell.array, atoms.get_momenta()):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(atoms.pbc.tobytes())
    digest.update(repr([constraint.todict() for constraint in atoms.constraints]).encode())
    return digest.hexdigest()


def model_digest(potential: Potential) -> str:
    """SHA-256 of everything that a model's numbers follow from: architecture, weights, reference energies."""
    backbone = potential.backbone
    what = [backbone.name, backbone.config, potential.reference_energies]
    return tensors_digest(backbone.state_dict().items(), json.dumps(what, sort_keys=True, default=str))


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
