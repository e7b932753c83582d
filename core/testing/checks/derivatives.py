"""Forces and virial are derivatives of the energy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from halocline.testing import tolerances
from halocline.testing.comparison import force_scale, require_close
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.subject import Subject

#: Random displacements of all atoms tried on each structure, and single atoms moved along each axis.
DIRECTIONS, SINGLE_ATOMS = 2, 1


class Difference(NamedTuple):
    """Estimates of one derivative.

    Attributes:
        plain: central difference; its error falls as h².
        extrapolated: Richardson's combination of steps h and h/2; its error falls as h⁴. It agrees with the true
            derivative far better than the plain one only if the error does fall as h².
    """

    plain: float
    extrapolated: float


def difference(function: Callable[[float], float], step: float) -> Difference:
    """Differentiate a function of one number at zero, from four of its values."""
    plain = (function(step) - function(-step)) / (2.0 * step)
    finer = (function(0.5 * step) - function(-0.5 * step)) / step
    return Difference(plain, (4.0 * finer - plain) / 3.0)


def check_forces(subject: Subject) -> None:
    """Forces are finite differences of the energy, along single coordinates and random displacements of all atoms.

    Raises:
        Failure: they differ by more than the tolerance.
        NotApplicable: the model declares forces that are no derivatives.
    """
    if not subject.backbone.derives_forces:
        raise NotApplicable("Its forces are no derivatives of the energy, and do not claim to be.")
    for name, atoms in subject.samples.small().items():
        result = subject.evaluate(atoms)
        scale = force_scale(result)
        for direction in _directions(len(atoms)):
            slope = difference(partial(_moved_energy, subject, atoms, direction), tolerances.STEP)
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


def _moved_energy(subject: Subject, atoms: Atoms, direction: NDArray[np.float64], step: float) -> float:
    moved = atoms.copy()
    moved.positions += step * direction
    return subject.evaluate(moved).energy


def check_stress(subject: Subject) -> None:
    """The stress of a crystal is the finite differences of its energy along six symmetric strains.

    Raises:
        Failure: they differ by more than the tolerance, or there is no stress.
        NotApplicable: the model declares a stress that is no derivative.
    """
    if not subject.backbone.derives_stress:
        raise NotApplicable("Its stress is no derivative of the energy, and does not claim to be.")
    crystal = subject.samples.crystal
    result = subject.evaluate(crystal)
    if result.stress is None or result.volume is None:
        raise Failure("A structure that is periodic in all three directions has no stress.")
    scale = max(1.0, float(np.abs(result.stress).max()))
    for strain in _strains():
        slope = difference(partial(_strained_energy, subject, crystal, strain), tolerances.STRAIN_STEP)
        expected = float((result.stress * strain).sum())
        what = "Stress and the derivative of the energy by strain (eV/Å³)"
        require_close(what, slope.extrapolated / result.volume, expected, tolerances.STRESS_DIFFERENCE * scale)


def _strains() -> list[NDArray[np.float64]]:
    """The six independent symmetric strains (3, 3)."""
    unit = np.eye(3)
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    return [0.5 * (np.outer(unit[a], unit[b]) + np.outer(unit[b], unit[a])) for a, b in pairs]


def _strained_energy(subject: Subject, atoms: Atoms, strain: NDArray[np.float64], step: float) -> float:
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)
    return subject.evaluate(strained).energy
