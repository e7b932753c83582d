"""One step of dynamics on every backend that is usable here, and on the variants that backends declare."""

from collections.abc import Iterator
from typing import Any

import pytest

import halocline
from halocline.bench import Request
from halocline.bench.measurement import WARM_UP, stepper, structure_for
from halocline.errors import UsageError
from halocline.plugin import registry

MODEL = "water-revpbe0d3-schnet"
STEPS = 10


def backends() -> Iterator[str]:
    """Every executor, with each of its variants."""
    for name in registry().names("executor"):
        for variant in registry().load("executor", name).variants:
            yield f"{name}:{variant}" if variant else name


@pytest.mark.parametrize("atoms", [100, 1000])
@pytest.mark.parametrize("backend", list(backends()))
def test_step(benchmark: Any, backend: str, atoms: int) -> None:
    """Time steps, after those that compile."""
    request = Request(
        model=MODEL,
        prune=None,
        backend=backend,
        dtype="float32",
        device="auto",
        atoms=atoms,
        density=0.1,
        structure=None,
        steps=STEPS,
    )
    potential = halocline.load(MODEL)
    try:
        step = stepper(request, potential, structure_for(request, potential))
    except UsageError as error:
        pytest.skip(str(error))
    benchmark.extra_info["atoms"] = atoms
    benchmark.pedantic(step, rounds=STEPS, warmup_rounds=1 + WARM_UP)
