"""Compare results against scales that cannot vanish."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halocline.evaluator.result import Result
from halocline.program import Precision
from halocline.testing import tolerances
from halocline.testing.report import Failure

Array = NDArray[np.float64]


def energy_scale(result: Result) -> float:
    """Sum of |E_i| in eV, at least 1 eV per atom."""
    return max(float(np.abs(result.energies).sum()), float(len(result.energies)))


def force_scale(result: Result) -> float:
    """Largest force component in eV/Å, at least 1 eV/Å."""
    return max(1.0, float(np.abs(result.forces).max(initial=0.0)))


def require_close(what: str, found: Array | float, expected: Array | float, tolerance: float) -> None:
    """Fail unless two arrays agree.

    Args:
        what: begins the message, such as ``forces after a rotation (eV/Å)``.
        found: any shape.
        expected: the same shape.
        tolerance: largest difference allowed, absolute.

    Raises:
        Failure: shapes differ, or values by more than the tolerance.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise Failure(f"{what}: the shape is {found.shape} instead of {expected.shape}.")
    error = float(np.abs(found - expected).max(initial=0.0))
    if not error <= tolerance:  # a NaN is no agreement
        raise Failure(f"{what} differ by {error:.2g}, where {tolerance:.2g} is allowed.")


def require_same(what: str, found: Result, expected: Result) -> None:
    """Fail unless two results agree to rounding in float64: energies, forces, and virial where there is one.

    Args:
        what: says what was done, such as ``after a rotation``.
        found: the result under test.
        expected: what it should be.

    Raises:
        Failure: they do not.
    """
    scale = energy_scale(expected)
    require_close(f"Energies {what} (eV)", found.energies, expected.energies, tolerances.ENERGY * scale)
    force = tolerances.FORCE * force_scale(expected)
    require_close(f"Forces {what} (eV/Å)", found.forces, expected.forces, force)
    if expected.virial is not None and found.virial is not None:
        virial = tolerances.VIRIAL * max(scale, float(np.abs(expected.virial).max()))
        require_close(f"Virials {what} (eV)", found.virial, expected.virial, virial)
    for name, unit in (("magmoms", "μB"), ("charges", "e")):
        values, reference = getattr(found, name), getattr(expected, name)
        if values is not None and reference is not None:
            tolerance = tolerances.ENERGY * max(1.0, float(np.abs(reference).max()))
            require_close(f"The {name} {what} ({unit})", values, reference, tolerance)


def require_agreement(what: str, found: Result, expected: Result, precision: Precision) -> None:
    """Fail unless energies and forces agree to what a precision allows, and in float64 virials too.

    Args:
        what: says what was done.
        found: computed in this precision.
        expected: what it should be.
        precision: of the network.

    Raises:
        Failure: they do not.
    """
    if precision is Precision.FLOAT64:
        require_same(what, found, expected)
        return
    energy = tolerances.FLOAT32_ENERGY * energy_scale(expected)
    require_close(f"Energies {what} (eV)", found.energies, expected.energies, energy)
    force = tolerances.FLOAT32_FORCE * force_scale(expected) + tolerances.FLOAT32_FORCE_FLOOR
    require_close(f"Forces {what} (eV/Å)", found.forces, expected.forces, force)


def require_identical(what: str, found: Result, expected: Result) -> None:
    """Fail unless two results agree to the bit.

    Raises:
        Failure: a bit differs.
    """
    for name in ("energies", "forces", "virial"):
        if not np.array_equal(getattr(found, name), getattr(expected, name)):
            raise Failure(f"The {name} {what} are not the same to the bit.")
