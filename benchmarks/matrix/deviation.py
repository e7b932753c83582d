"""How far two results are apart, and how much of what is allowed that is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from halocline.evaluator.result import Result
from halocline.program import Precision
from halocline.testing import tolerances
from halocline.testing.comparison import energy_scale, force_scale


class Deviation(NamedTuple):
    """The largest differences.

    Attributes:
        energy: of the energy of an atom, eV.
        force: of a component, eV/Å.
        virial: of a component, eV.
        of_tolerance: the largest of the three by what is allowed; above 1, or NaN, they are not the same numbers.
    """

    energy: float
    force: float
    virial: float
    of_tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the results are the same numbers; NaN is none."""
        return self.of_tolerance <= 1.0


def deviation(found: Result, expected: Result, dtype: str) -> Deviation:
    """Compare with the reference in float64; tolerances are those of the conformance suite.

    Args:
        found: computed in this dtype.
        expected: by the reference.
        dtype: ``float32`` or ``float64``.
    """
    energy = energy_scale(expected)
    virial = max(energy, float(np.abs(expected.virial).max()))
    if dtype == Precision.FLOAT64:
        force = tolerances.FORCE * force_scale(expected)
        allowed = tolerances.ENERGY * energy, force, tolerances.VIRIAL * virial
    else:
        largest = float(np.abs(expected.forces).max(initial=0.0))
        force = tolerances.FLOAT32_FORCE * largest + tolerances.FLOAT32_FORCE_FLOOR
        allowed = tolerances.FLOAT32_ENERGY * energy, force, tolerances.FLOAT32_FORCE * virial
    differences = [
        float(np.abs(getattr(found, name) - getattr(expected, name)).max(initial=0.0))
        for name in ("energies", "forces", "virial")
    ]
    shares = [difference / most for difference, most in zip(differences, allowed, strict=True)]
    return Deviation(*differences, float(np.max(shares)))


def largest(deviations: list[Deviation]) -> Deviation:
    """The largest of each; NaN is larger than all."""
    return Deviation(*map(float, np.max(np.array(deviations), axis=0)))
