"""C++ that evaluates spherical harmonics and their gradients: written from `spherical_harmonics` itself."""

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
Powers = tuple[int, int, int]

_AXES = "xyz"


def square_root(value: float) -> float:
    """The root of a fraction that a computed value is next to, so that its rounding does not change sources.

    The coefficients of harmonics and couplings of low degrees are such roots.
    """
    return math.copysign(math.sqrt(Fraction(value * value).limit_denominator(10_000)), value)


def harmonics_source(max_degree: int) -> str:
    """Two functions of a unit vector, whose components are of any type V with + and *.

    ``harmonics(x, y, z, Y)`` writes all (max_degree + 1)² harmonics but the first, which is 1.
    ``pull_harmonics(x, y, z, dY, t)`` writes the gradient by x, y and z of Σ dY Y, of which only what is along the
    sphere counts; dY[0] is not read.
    """
    columns = _polynomials(max_degree)
    slopes: list[dict[Powers, dict[int, float]]] = [defaultdict(dict) for _ in _AXES]
    for place, polynomial in enumerate(columns):
        for powers, factor in polynomial.items():
            for axis, power in enumerate(powers):
                if power:
                    lowered = tuple(p - (a == axis) for a, p in enumerate(powers))
                    slopes[axis][lowered][place] = factor * power  # type: ignore[index]
    lines = ["template <class V>", "HALO_INLINE void harmonics(V x, V y, V z, V* Y) {", *_monomials(max_degree)]
    lines += [
        f"  Y[{place}] = {' + '.join(f'T({c!r}) * {_name(powers)}' for powers, c in polynomial.items())};"
        for place, polynomial in enumerate(columns)
        if place
    ]
    lines += ["}", "", "template <class V>", "HALO_INLINE void pull_harmonics(V x, V y, V z, const V* dY, V* t) {"]
    lines += _monomials(max_degree - 1)
    for axis in range(3):
        lines.append(f"  t[{axis}] = V{{}};")
        for powers, factors in slopes[axis].items():
            sum_ = " + ".join(f"T({c!r}) * dY[{place}]" for place, c in factors.items())
            lines.append(
                f"  t[{axis}] += {sum_};" if not sum(powers) else f"  t[{axis}] += {_name(powers)} * ({sum_});"
            )
    return "\n".join([*lines, "}"])


@cache
def _polynomials(max_degree: int) -> list[dict[Powers, float]]:
    """Each harmonic of degree l as a homogeneous polynomial of degree l, which it is on the unit sphere.

    Coefficients of monomials are fitted to values at more directions than there are monomials.
    """
    directions = np.random.default_rng(0).normal(size=(64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    values = spherical_harmonics(torch.from_numpy(directions), max_degree).numpy()
    columns: list[dict[Powers, float]] = []
    for degree in range(max_degree + 1):
        powers = list(_powers(degree))
        monomials = np.stack([np.prod(directions**p, axis=1) for p in powers], axis=1)
        found = np.linalg.lstsq(monomials, values[:, degree**2 : (degree + 1) ** 2], rcond=None)[0]
        for column in found.T:
            exact = {p: square_root(float(c)) for p, c in zip(powers, column, strict=True)}
            columns.append({p: c for p, c in exact.items() if c})
    return columns


def _powers(degree: int) -> Iterator[Powers]:
    """Of all monomials of a degree."""
    for i, j in product(range(degree, -1, -1), repeat=2):
        if i + j <= degree:
            yield i, j, degree - i - j


def _monomials(max_degree: int) -> Iterator[str]:
    """Definitions of the monomials of degree 2 and more, each from one of the degree below."""
    for degree in range(2, max_degree + 1):
        for powers in _powers(degree):
            axis = next(axis for axis in range(3) if powers[axis])
            below: Powers = tuple(p - (a == axis) for a, p in enumerate(powers))  # type: ignore[assignment]
            yield f"  const V {_name(powers)} = {_AXES[axis]} * {_name(below)};"


def _name(powers: Powers) -> str:
    """Of a monomial, such as ``xxz``."""
    return "".join(axis * power for axis, power in zip(_AXES, powers, strict=True))
