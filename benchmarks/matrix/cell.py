"""Run one cell: every sample structure of its model, beside the eager definition in float64."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Final, Literal, NamedTuple

from ase import Atoms

from halocline.errors import UsageError
from halocline.evaluator.result import Result
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.spec import Spec
from halocline.testing.hosts import HOSTS, together
from halocline.testing.structures import Samples
from matrix.axes import BUNDLED, DIVISIONS, ON_GPU, QUIET, TOGETHER, Cell, potential, why_not
from matrix.deviation import Deviation, deviation, largest

#: Atoms at so many times their distances have no neighbours, where neighbours are those within a cutoff.
APART: Final = 50.0


class Outcome(NamedTuple):
    """What became of a cell.

    Attributes:
        status: ``skipped`` for what cannot be run, anywhere or here.
        seconds: that it took, compilation included.
        deviation: the largest over all structures, if it ran.
        message: why it was skipped, or how it failed.
    """

    status: Literal["passed", "failed", "skipped"]
    seconds: float = 0.0
    deviation: Deviation | None = None
    message: str = ""


def run(cell: Cell, device: str = "cpu") -> Outcome:
    """Evaluate the model's sample structures as the cell says.

    Args:
        cell: what to run. Programs are compiled for the first cell of a model, backend and dtype, and kept.
        device: where.
    """
    reason = why_not(cell) or _missing(cell.backend, device)
    if reason:
        return Outcome("skipped", message=reason)
    expected, started = _expected(cell.model), time.perf_counter()
    try:
        with _host(cell.host):
            found = _evaluated(potential(cell.model), list(_structures(cell.model).values()), cell, device)
    except Exception as error:  # whatever a backend raises is what the cell found
        message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Outcome("failed", time.perf_counter() - started, message=message)
    seconds = time.perf_counter() - started
    each = [deviation(*pair, cell.dtype) for pair in zip(found, expected, strict=True)]
    names = [name for name, one in zip(_structures(cell.model), each, strict=True) if not one.ok]
    message = f"other numbers on: {', '.join(names)}" if names else ""
    return Outcome("failed" if names else "passed", seconds, largest(each), message)


def _evaluated(of: Potential, structures: list[Atoms], cell: Cell, device: str) -> list[Result]:
    options: Any = {"backend": cell.backend, "dtype": cell.dtype, "device": device} | DIVISIONS[cell.division]
    if cell.division == TOGETHER:
        return of(structures, **options)
    return [of(atoms, **options) for atoms in structures]


@cache
def _structures(model: str) -> dict[str, Atoms]:
    """Every periodicity, a cell smaller than the cutoff, a box longer than the receptive field, and no edges."""
    samples = Samples(potential(model).backbone)
    apart = samples.molecule.copy()
    apart.positions *= APART
    return samples.all() | {"apart": apart, "one atom": samples.atom}


@cache
def _expected(model: str) -> list[Result]:
    """The eager definition in float64 on the CPU, one structure after another, in a host that has done nothing."""
    return [potential(model)(atoms, dtype="float64", device="cpu") for atoms in _structures(model).values()]


def _host(name: str) -> AbstractContextManager[Any]:
    if name == QUIET:
        return nullcontext()
    return together(BUNDLED[name]) if name in BUNDLED else {**HOSTS, **ON_GPU}[name]()


@cache
def _missing(backend: str, device: str) -> str:
    """Why a backend cannot be used here, which may be no fault of its own; empty if it can."""
    spec = Spec.parse(backend)
    named = Spec.parse(spec.options.get("inner", "torch")) if spec.name == "ddp" else spec
    executor = registry().load("executor", named.name)
    try:
        named.build(executor, device=device)
    except UsageError as error:
        return str(error)
    return ""
