"""Stress is the derivative of the energy by strain, over the volume."""

from __future__ import annotations

from functools import partial

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from halocline.testing import tolerances
from halocline.testing.comparison import require_close
from halocline.testing.differences import difference
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.subject import Subject


def check_stress(subject: Subject) -> None:
    """Finite differences of the energy of a crystal along six symmetric strains."""
    if not subject.backbone.derives_stress:
        raise NotApplicable("Its stress is no derivative of the energy, and does not claim to be.")
    crystal = subject.samples.crystal
    result = subject.evaluate(crystal)
    if result.stress is None or result.volume is None:
        raise Failure("A structure that is periodic in all three directions has no stress.")
    scale = max(1.0, float(np.abs(result.stress).max()))
    for strain in _strains():
        slope = difference(partial(_energy, subject, crystal, strain), tolerances.STRAIN_STEP)
        expected = float((result.stress * strain).sum())
        what = "Stress and the derivative of the energy by strain (eV/Å³)"
        require_close(what, slope.extrapolated / result.volume, expected, tolerances.STRESS_DIFFERENCE * scale)


def _strains() -> list[NDArray[np.float64]]:
    """The six independent symmetric strains (3, 3)."""
    unit = np.eye(3)
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    return [0.5 * (np.outer(unit[a], unit[b]) + np.outer(unit[b], unit[a])) for a, b in pairs]


def _energy(subject: Subject, atoms: Atoms, strain: NDArray[np.float64], step: float) -> float:
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)
    return subject.evaluate(strained).energy
