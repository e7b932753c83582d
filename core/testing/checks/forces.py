"""Forces are minus the gradient of the energy."""

from __future__ import annotations

from functools import partial

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from halocline.testing import tolerances
from halocline.testing.comparison import force_scale, require_close
from halocline.testing.differences import difference
from halocline.testing.report import NotApplicable
from halocline.testing.subject import Subject

#: Random displacements of all atoms tried on each structure, and single atoms moved along each axis.
DIRECTIONS, SINGLE_ATOMS = 2, 1


def check_forces(subject: Subject) -> None:
    """Finite differences of the energy, along single coordinates and along random displacements of all atoms."""
    if not subject.backbone.derives_forces:
        raise NotApplicable("Its forces are no derivatives of the energy, and do not claim to be.")
    for name, atoms in subject.samples.small().items():
        result = subject.evaluate(atoms)
        scale = force_scale(result)
        for direction in _directions(len(atoms)):
            slope = difference(partial(_energy, subject, atoms, direction), tolerances.STEP)
            expected = -float((result.forces * direction).sum())
            what = f"Forces of the {name} and minus the gradient of its energy (eV/Å)"
            require_close(what, slope.extrapolated, expected, tolerances.DIFFERENCE * scale)
            require_close(what, slope.plain, expected, tolerances.PLAIN_DIFFERENCE * scale)


def _directions(atoms: int) -> list[NDArray[np.float64]]:
    """Displacements (N, 3), as unit steps of one coordinate or random ones of unit length."""
    rng = np.random.default_rng(5)
    single = np.eye(3 * atoms)[: 3 * SINGLE_ATOMS].reshape(-1, atoms, 3)
    random = rng.normal(size=(DIRECTIONS, atoms, 3))
    random /= np.linalg.norm(random, axis=(1, 2), keepdims=True)
    return [*single, *random]


def _energy(subject: Subject, atoms: Atoms, direction: NDArray[np.float64], step: float) -> float:
    moved = atoms.copy()
    moved.positions += step * direction
    return subject.evaluate(moved).energy
