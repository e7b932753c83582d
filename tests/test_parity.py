"""Every backbone on backends that start quickly, in every precision, on every kind of structure: the same numbers.

The reference is NumPy in float64, written out by hand, with neighbours found by brute force. Backends that compile
are held against eager PyTorch, in `test_matrix`.
"""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import (
    BACKENDS,
    LENGTHS,
    STRUCTURES,
    answer,
    clear_structure,
    evaluator,
    potential,
    structure,
    why_not,
)

from halocline.testing import tolerances
from halocline.testing.hosts import HOSTS

#: Float64: of Σ|E_i|, of max(1 eV/Å, max|F|) and of max(1 eV, max|W|). Sums over a hundred edges and three layers.
DOUBLE = 1e-10

MATRIX = [
    pytest.param(
        model,
        backend,
        dtype,
        id=f"{model} | {backend} | {dtype}",
        # The matrix has these, too.
        marks=[pytest.mark.slow, pytest.mark.exhaustive] if backend == "onnx:threads=2" else [],
    )
    for model in LENGTHS
    for backend in BACKENDS
    for dtype in ("float32", "float64")
]


@pytest.fixture(autouse=True, scope="module")
def no_processes_are_left():
    """Evaluators with processes of their own would keep them until the last test of all."""
    yield
    evaluator.cache_clear()


@pytest.mark.parametrize(("model", "backend", "dtype"), MATRIX)
def test_numbers_are_those_of_the_reference(model, backend, dtype):
    _require_runnable(backend, dtype)
    runner = evaluator(model, backend, dtype)
    for case in STRUCTURES:
        result = potential(model).evaluate_with(runner, structure(model, case))
        expected = answer(model, case)
        _require_equal(result, expected, dtype, case)


@pytest.mark.parametrize(("model", "backend", "dtype"), MATRIX)
def test_forces_and_stress_are_derivatives(model, backend, dtype):
    _require_runnable(backend, dtype)
    runner = evaluator(model, backend, dtype)
    # Truncation, h² E'''/6, and the rounding of the energies, ε ΣE / h, both stay below the tolerance.
    step, tolerance = (1e-4, 1e-6) if dtype == "float64" else (3e-3, 2e-3)
    rng = np.random.default_rng(5)
    for case in ("molecule", "small triclinic cell"):
        atoms = clear_structure(model, case)
        result = potential(model).evaluate_with(runner, atoms)
        direction, strain = rng.normal(size=atoms.positions.shape), rng.normal(size=(3, 3))
        direction /= np.linalg.norm(direction)
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)

        def energy(along, by, atoms=atoms, direction=direction, strain=strain):
            moved = atoms.copy()
            deformation = np.eye(3) + by * strain
            moved.set_cell(moved.cell @ deformation)
            moved.positions = (moved.positions + along * direction) @ deformation
            return potential(model).evaluate_with(runner, moved).energy

        slope = (energy(step, 0.0) - energy(-step, 0.0)) / (2 * step)
        assert slope == pytest.approx(-np.sum(result.forces * direction), abs=tolerance * _scale(result.forces))
        slope = (energy(0.0, step) - energy(0.0, -step)) / (2 * step)
        assert slope == pytest.approx(np.sum(result.virial * strain), abs=tolerance * _scale(result.virial))


@pytest.mark.parametrize(("model", "backend", "dtype"), MATRIX)
def test_the_host_changes_nothing(model, backend, dtype):
    _require_runnable(backend, dtype)
    runner = evaluator(model, backend, dtype)
    for name, host in HOSTS.items():
        with host():
            result = potential(model).evaluate_with(runner, structure(model, "liquid"))
        _require_equal(result, answer(model, "liquid"), dtype, name)


def test_the_reference_is_not_flat():
    """Where all forces vanish, every backend would agree."""
    for model in LENGTHS:
        assert np.abs(answer(model, "liquid").forces).max() > 1e-3


def _require_runnable(backend, dtype):
    reason = why_not(backend, dtype)
    if reason is not None:
        pytest.skip(f"{backend} in {dtype}: {reason}")


def _require_equal(result, expected, dtype, case):
    energy, force, virial = (
        (DOUBLE, DOUBLE * _scale(expected.forces), DOUBLE * _scale(expected.virial))
        if dtype == "float64"
        else (
            tolerances.FLOAT32_ENERGY,
            tolerances.FLOAT32_FORCE * np.abs(expected.forces).max() + tolerances.FLOAT32_FORCE_FLOOR,
            tolerances.FLOAT32_FORCE * _scale(expected.virial),
        )
    )
    named = {"rtol": 0.0, "err_msg": case}
    np.testing.assert_allclose(
        result.energies, expected.energies, atol=energy * np.abs(expected.energies).sum(), **named
    )
    np.testing.assert_allclose(result.forces, expected.forces, atol=force, **named)
    np.testing.assert_allclose(result.virial, 0.5 * (expected.virial + expected.virial.T), atol=virial, **named)


def _scale(values):
    return max(1.0, float(np.abs(values).max(initial=0.0)))
