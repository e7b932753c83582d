"""Spherical harmonics and their gradients as polynomials, read from `spherical_harmonics` itself.

Code of any language is written from them. Monomials have names such as ``xxz``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import torch

from halocline.plugins.equivariance import spherical_harmonics

#: Powers of x, y and z.
_Powers = tuple[int, int, int]

_AXES = "xyz"


def square_root(value: float) -> float:
    """The root of a fraction that a computed value is next to, so that its rounding does not change sources.

    The coefficients of harmonics and couplings of low degrees are such roots.
    """
    return math.copysign(math.sqrt(Fraction(value * value).limit_denominator(10_000)), value)


def harmonics_terms(max_degree: int) -> list[dict[str, float]]:
    """Of all (max_degree + 1)² harmonics of a unit vector: their monomials, and what these are multiplied with."""
    return [{_name(p): c for p, c in polynomial.items()} for polynomial in _polynomials(max_degree)]


def slope_terms(max_degree: int) -> list[dict[str, dict[int, float]]]:
    """Of the gradient of Σ dY Y by x, y and z: monomials, and for each what numbers dY are multiplied with.

    Only what is along the sphere counts; the first harmonic does not occur.
    """
    slopes: list[dict[str, dict[int, float]]] = [defaultdict(dict) for _ in _AXES]
    for place, polynomial in enumerate(_polynomials(max_degree)):
        for powers, factor in polynomial.items():
            for axis, power in enumerate(powers):
                if power:
                    lowered: _Powers = tuple(p - (a == axis) for a, p in enumerate(powers))  # type: ignore[assignment]
                    slopes[axis][_name(lowered)][place] = factor * power
    return slopes


def monomials(max_degree: int) -> Iterator[tuple[str, str]]:
    """Those of degree 2 and more, each as a product with one of the degree below: ``xxz`` and ``x * xz``."""
    for degree in range(2, max_degree + 1):
        for powers in _powers(degree):
            axis = next(axis for axis in range(3) if powers[axis])
            below: _Powers = tuple(p - (a == axis) for a, p in enumerate(powers))  # type: ignore[assignment]
            yield _name(powers), f"{_AXES[axis]} * {_name(below)}"


@cache
def _polynomials(max_degree: int) -> list[dict[_Powers, float]]:
    """Each harmonic of degree l as a homogeneous polynomial of degree l, which it is on the unit sphere.

    Coefficients of monomials are fitted to values at more directions than there are monomials.
    """
    directions = np.random.default_rng(0).normal(size=(64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    values = spherical_harmonics(torch.from_numpy(directions), max_degree).numpy()
    columns: list[dict[_Powers, float]] = []
    for degree in range(max_degree + 1):
        powers = list(_powers(degree))
        basis = np.stack([np.prod(directions**p, axis=1) for p in powers], axis=1)
        found = np.linalg.lstsq(basis, values[:, degree**2 : (degree + 1) ** 2], rcond=None)[0]
        for column in found.T:
            exact = {p: square_root(float(c)) for p, c in zip(powers, column, strict=True)}
            columns.append({p: c for p, c in exact.items() if c})
    return columns


def _powers(degree: int) -> Iterator[_Powers]:
    """Of all monomials of a degree."""
    for i, j in product(range(degree, -1, -1), repeat=2):
        if i + j <= degree:
            yield i, j, degree - i - j


def _name(powers: _Powers) -> str:
    """Of a monomial."""
    return "".join(axis * power for axis, power in zip(_AXES, powers, strict=True))
