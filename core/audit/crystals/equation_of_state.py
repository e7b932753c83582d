"""The equation of state of Birch and Murnaghan, fitted without a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from ase import units
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

#: A well must be deeper than this over the range, eV/atom: less is rounding, not a crystal that holds together.
LEAST_DEPTH = 1e-9


@final
@dataclass(frozen=True, slots=True)
class EquationOfState:
    """A crystal near its minimum of energy.

    Attributes:
        volume: of the minimum, Å³/atom.
        energy: there, eV/atom.
        bulk_modulus: there, GPa.
        residual: root mean square of what the fit leaves, eV/atom.
    """

    volume: float
    energy: float
    bulk_modulus: float
    residual: float


def fit_equation_of_state(volumes: NDArray[np.float64], energies: NDArray[np.float64]) -> EquationOfState | None:
    """Fit the third-order equation of state of Birch and Murnaghan.

    Energy is a polynomial of third degree in x = V^(-2/3) (F. Birch, Phys. Rev. 71, 809 (1947)), so that linear
    least squares find its four parameters from any data, and its minimum is a root of a quadratic.

    Args:
        volumes: at least five, rising, Å³/atom.
        energies: eV/atom.

    Returns:
        The fit; None if it has no minimum between the first and the last volume.
    """
    x = volumes ** (-2 / 3)
    curve = Polynomial.fit(x, energies, 3)
    slope, curvature = curve.deriv(1), curve.deriv(2)
    for root in slope.roots():
        if abs(root.imag) > 0 or not x[-1] <= root.real <= x[0] or curvature(root.real) <= 0:
            continue
        at = float(root.real)
        energy, volume = float(curve(at)), at ** (-3 / 2)
        if max(curve(x[0]), curve(x[-1])) - energy < LEAST_DEPTH:
            continue
        # B = V d²E/dV², and where dE/dx = 0, d²E/dV² = d²E/dx² (dx/dV)² with dx/dV = -2/3 x^(5/2).
        modulus = volume * float(curvature(at)) * 4 / 9 * at**5 / units.GPa
        residual = float(np.sqrt(np.mean((curve(x) - energies) ** 2)))
        return EquationOfState(volume, energy, modulus, residual)
    return None
