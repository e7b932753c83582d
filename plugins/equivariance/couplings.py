"""How two irreps couple to a third: Clebsch-Gordan coefficients for real components."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray


@cache
def coupling(left: int, right: int, out: int) -> NDArray[np.float64]:
    """The invariant of three irreps, C_abc with Σ C² = 1; it is unique up to its sign.

    Contracted with components of degrees l₁ and l₂ it gives components of degree l₃. The components are those of
    `spherical_harmonics`. Where l₁ + l₂ + l₃ is even, the sign is that of the integral of three harmonics, so
    ``Y_l₁ ⊗ Y_l₂`` gives a positive multiple of Y_l₃. Where it is odd, the harmonics of one direction couple to
    zero, and the sign is that of the change of basis below.

    **A trap.** e3nn 0.4.4 has the opposite sign for some of the odd ones: (1,2,2), (2,1,2), (2,2,1), (1,3,3),
    (3,1,3), (3,3,1) among them. Weights that multiply odd couplings belong to the signs that they were trained
    with.

    Args:
        left: l₁.
        right: l₂.
        out: l₃, with abs(l₁ - l₂) ≤ l₃ ≤ l₁ + l₂.

    Returns:
        (2l₁ + 1, 2l₂ + 1, 2l₃ + 1), read-only.
    """
    complex_one = np.zeros((2 * left + 1, 2 * right + 1, 2 * out + 1))
    for i, j in np.ndindex(complex_one.shape[:2]):
        m = (i - left) + (j - right)
        if abs(m) <= out:
            complex_one[i, j, m + out] = _clebsch_gordan((left, i - left), (right, j - right), (out, m))
    bases = _real_basis(left), _real_basis(right), _real_basis(out).conj()
    real_one = np.einsum("ia,jb,kc,ijk->abc", *bases, complex_one, optimize=True) * (-1j) ** (left + right - out)
    result: NDArray[np.float64] = real_one.real / np.linalg.norm(real_one.real)
    result.flags.writeable = False
    return result


@cache
def _real_basis(degree: int) -> NDArray[np.complex128]:
    """Complex components m of unit vectors along real ones, which have none of the phases (-1)^m."""
    basis = np.zeros((2 * degree + 1, 2 * degree + 1), np.complex128)
    basis[degree, degree] = 1.0
    for m in range(1, degree + 1):
        sign, half = (-1) ** m, math.sqrt(0.5)
        basis[degree + m, degree + m], basis[degree + m, degree - m] = sign * half, 1j * sign * half
        basis[degree - m, degree + m], basis[degree - m, degree - m] = half, -1j * half
    return basis


def _clebsch_gordan(left: tuple[int, int], right: tuple[int, int], out: tuple[int, int]) -> float:
    """⟨l₁m₁ l₂m₂ | l₃m₃⟩ for m₃ = m₁ + m₂ by Racah's formula, whose sum is one of whole numbers' ratios."""
    (l1, m1), (l2, m2), (l3, m3) = left, right, out
    f = math.factorial
    triangle = f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(l2 - l1 + l3) / f(l1 + l2 + l3 + 1)
    states = f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3)
    total = 0.0
    for k in range(l1 + l2 - l3 + 1):
        rest = (l1 + l2 - l3 - k, l1 - m1 - k, l2 + m2 - k, l3 - l2 + m1 + k, l3 - l1 - m2 + k)
        if min(rest) >= 0:
            total += (-1) ** k / (f(k) * math.prod(map(f, rest)))
    return math.sqrt((2 * l3 + 1) * triangle * states) * total
