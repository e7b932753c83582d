"""How far forces are from being the derivative of any energy: what of their Jacobian is antisymmetric.

Forces F(x) of 3N coordinates are minus the gradient of an energy, and do no work round any closed path, exactly if
their Jacobian J = ∂F/∂x is symmetric. Of three coordinates, what J − Jᵀ holds is the curl of F.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

#: Directions in which all atoms are displaced. Of their pairs, here 28, each gives one number of either part of
#: the Jacobian, so that one structure tells the ratio to about a seventh; several are averaged.
PROBES: Final = 8

#: Å, root mean square of displaced coordinates, in float64. Truncation is of the second order in it.
STEP: Final = 1e-4

#: Positions (N, 3) of several structures in Å → their forces (N, 3) in eV/Å.
Forces = Callable[[Sequence[NDArray[np.float64]]], Sequence[NDArray[np.float64]]]


@final
@dataclass(frozen=True, slots=True)
class Curl:
    """The antisymmetric part of the Jacobian of forces, and the symmetric one, by coordinate.

    Attributes:
        antisymmetric: ‖J − Jᵀ‖²/3N in (eV/Å²)², squares of the Frobenius norm.
        symmetric: ‖J + Jᵀ‖²/3N, likewise.
    """

    antisymmetric: float
    symmetric: float

    @property
    def asymmetry(self) -> float | None:
        """‖J − Jᵀ‖/‖J + Jᵀ‖: 0 of a gradient, 1 if J and Jᵀ have nothing in common; None of constant forces."""
        return math.sqrt(self.antisymmetric / self.symmetric) if self.symmetric else None

    @property
    def magnitude(self) -> float:
        """‖J − Jᵀ‖/√3N in eV/Å².

        If all atoms go round circles in phase, x + ρ(u cos t + v sin t), with u and v normal of unit variance in
        each coordinate, the work of one turn is to leading order πρ²√3N times this, in root mean square.
        """
        return math.sqrt(self.antisymmetric)

    @classmethod
    def mean(cls, curls: Iterable[Curl]) -> Curl:
        """Means of the squares over structures, at least one."""
        squares = [(each.antisymmetric, each.symmetric) for each in curls]
        antisymmetric, symmetric = np.mean(squares, axis=0)
        return cls(float(antisymmetric), float(symmetric))


def measure_curl(
    forces: Forces, positions: NDArray[np.float64], *, probes: int = PROBES, step: float = STEP, seed: int = 0
) -> Curl:
    """Estimate the curl of forces from central differences along random directions.

    For normal v and w, independent and of unit variance, the mean of (vᵀAw)² is ‖A‖² of any matrix A (M. F.
    Hutchinson, Commun. Stat. Simul. Comput. 19, 433 (1990), for traces). With B_ab = v_aᵀ J v_b, each pair of
    directions gives B_ab − B_ba and B_ab + B_ba, so that a symmetric Jacobian gives zero for each pair and not
    only in the mean.

    Args:
        forces: called once, with two structures for each direction.
        positions: (N, 3) Å.
        probes: how many directions, two at least.
        step: Å, root mean square of displacements.
        seed: of the directions.
    """
    directions = np.random.default_rng(seed).standard_normal((probes, *positions.shape))
    found = forces([positions + sign * step * each for each in directions for sign in (1.0, -1.0)])
    slopes = [(plus - minus) / (2.0 * step) for plus, minus in zip(found[::2], found[1::2], strict=True)]
    products = np.einsum("aij,bij->ab", directions, slopes)
    a, b = np.triu_indices(probes, 1)
    scale = 1.0 / positions.size
    return Curl(
        float(np.mean((products[a, b] - products[b, a]) ** 2)) * scale,
        float(np.mean((products[a, b] + products[b, a]) ** 2)) * scale,
    )
