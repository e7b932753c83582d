"""The self-test of a backend, run in the process that is put at risk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from halocline.doctor.examination import SelfTest
from halocline.errors import NotFiniteError
from halocline.evaluator import LocalEvaluator
from halocline.evaluator.result import Result
from halocline.executor import Executor
from halocline.graph import Structure
from halocline.model import Backbone
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.program import Precision
from halocline.spec import Spec
from halocline.testing import tolerances
from halocline.testing.comparison import energy_scale, force_scale
from halocline.testing.subject import Subject

#: Seconds for which one precision is repeated.
SECONDS = 1.0


def run(argument: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Diagnose and test one backend.

    Args:
        argument: ``name`` of the executor, and ``backend``, the same with options.

    Yields:
        The diagnosis and the variants; then, unless it is not usable, a `SelfTest` for each precision.
    """
    kind = registry().load("executor", argument["name"])
    diagnosis = kind.diagnose()
    yield {"diagnosis": asdict(diagnosis), "variants": kind.variants}
    plain = argument["backend"] == argument["name"]
    if diagnosis.usable or not plain:  # a variant may do without what is missing
        executor = Spec.parse(argument["backend"]).build(kind, device="auto")
        subject = Subject(_example())
        for precision in executor.capabilities.precisions:
            yield asdict(_test(executor, subject, precision))


def _example() -> Backbone:
    """The first backbone that is registered, small."""
    name = registry().components("backbone")[0].qualified_name
    return build_backbone(name, registry().load("backbone", name).example_config())


def _test(executor: Executor, subject: Subject, precision: Precision) -> SelfTest:
    """Evaluate a small triclinic cell and a liquid in turns, for threads that race do so only now and then."""
    samples = list(subject.samples.periodic().values())
    structures = [subject.graph(atoms).structure for atoms in samples]
    start = time.perf_counter()
    evaluator = LocalEvaluator(subject.backbone, executor, precision)
    rounds = [[_evaluate(evaluator, structure) for structure in structures]]
    started = time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        rounds.append([_evaluate(evaluator, structure) for structure in structures])
    expected = [subject.evaluate(atoms) for atoms in samples]
    pairs = [pair for results in rounds for pair in zip(results, expected, strict=True)]
    energy = max((_energy_error(*pair, precision) for pair in pairs), key=_severity)
    force = max((_force_error(*pair, precision) for pair in pairs), key=_severity)
    return SelfTest(
        precision=precision.value,
        energy_error=_finite(energy[0]),
        energy_tolerance=energy[1],
        force_error=_finite(force[0]),
        force_tolerance=force[1],
        start=started - start,
        repeats=len(rounds),
    )


def _evaluate(evaluator: LocalEvaluator, structure: Structure) -> Result | None:
    """The result, or None if it is not finite: that is an answer, and it is wrong."""
    try:
        return evaluator.evaluate(structure)
    except NotFiniteError:
        return None


def _energy_error(found: Result | None, expected: Result, precision: Precision) -> tuple[float, float]:
    """Largest error of an atom's energy with its tolerance, eV."""
    double = precision is Precision.FLOAT64
    tolerance = tolerances.ENERGY if double else tolerances.FLOAT32_ENERGY
    error = np.inf if found is None else _largest(found.energies - expected.energies)
    return error, tolerance * energy_scale(expected)


def _force_error(found: Result | None, expected: Result, precision: Precision) -> tuple[float, float]:
    """Largest error of a force component with its tolerance, eV/Å."""
    if precision is Precision.FLOAT64:
        tolerance = tolerances.FORCE * force_scale(expected)
    else:
        tolerance = tolerances.FLOAT32_FORCE * force_scale(expected) + tolerances.FLOAT32_FORCE_FLOOR
    return np.inf if found is None else _largest(found.forces - expected.forces), tolerance


def _severity(error: tuple[float, float]) -> float:
    return error[0] / error[1]


def _largest(difference: np.ndarray) -> float:
    """The largest magnitude."""
    return float(np.abs(difference).max())


def _finite(error: float) -> float | None:
    """An error as JSON can say it."""
    return error if np.isfinite(error) else None
