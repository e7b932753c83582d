"""Real spherical harmonics of any degree."""

from __future__ import annotations

import math
from functools import cache

import torch
from numpy.polynomial import legendre, polynomial
from torch import Tensor


def spherical_harmonics(directions: Tensor, max_degree: int) -> Tensor:
    """All Y_lm up to a degree, normalised so that Σ_m Y_lm(a) Y_lm(b) = (2l + 1) P_l(a · b).

    The components of degree l run from m = -l to l about the **y axis**, as in e3nn; so those of degree 1 are
    √3 (x, y, z). With P_l^m = d^m P_l/dy^m and (z + ix)^m = A_m + iB_m,

        Y_l0 = √(2l+1) P_l(y),    Y_lm = n_lm P_l^m(y) A_m,    Y_l,-m = n_lm P_l^m(y) B_m,
        n_lm² = 2 (2l+1) (l-m)!/(l+m)!.

    Args:
        directions: [..., 3], unit vectors; where they are zero, so are the harmonics but those of degree 0 and
            those that are powers of y alone.
        max_degree: the highest l.

    Returns:
        [..., (max_degree + 1)²], degree after degree.
    """
    # Columns, not numbers: taking the last axis away makes compilers ask whether there is more than one edge.
    x, y, z = (directions[..., axis : axis + 1] for axis in range(3))
    powers = [(torch.ones_like(x), torch.zeros_like(x))]
    for _ in range(max_degree):
        a, b = powers[-1]
        powers.append((z * a - x * b, z * b + x * a))
    columns: list[Tensor] = []
    for degree in range(max_degree + 1):
        along = [_horner(_legendre(degree, order), y) for order in range(degree + 1)]
        columns += [along[order] * powers[order][1] for order in range(degree, 0, -1)]
        columns += [along[order] * powers[order][0] for order in range(degree + 1)]
    return torch.cat(columns, dim=-1)


@cache
def _legendre(degree: int, order: int) -> list[float]:
    """Coefficients of n_lm P_l^m in rising powers."""
    derivative = polynomial.polyder(legendre.leg2poly([0.0] * degree + [1.0]), order)
    ratio = math.factorial(degree - order) / math.factorial(degree + order)
    norm = math.sqrt((2 * degree + 1) * ratio * (2 if order else 1))
    return [norm * float(coefficient) for coefficient in derivative]


def _horner(coefficients: list[float], y: Tensor) -> Tensor:
    value = torch.full_like(y, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * y + coefficient if coefficient else value * y
    return value
