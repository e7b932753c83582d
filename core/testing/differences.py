"""Derivatives by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


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
