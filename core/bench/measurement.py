"""One measurement, in the process that is measured."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

import halocline
from halocline.bench.memory import available_memory, peak_memory
from halocline.bench.request import Request
from halocline.bench.structures import Motion, disordered_box, repeated
from halocline.errors import StructureError
from halocline.model.kept_tables import without_tables
from halocline.plugin import registry
from halocline.program.replacement import kernels_of
from halocline.spec import Spec
from halocline.structures.read import read_frames

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.evaluator import FollowingEvaluator
    from halocline.potential.potential import Potential

#: What ratios refer to.
REFERENCE = "torch"

#: Steps before the clock counts; the first of them may compile.
WARM_UP = 3

#: No measurement times more steps once it took so many seconds; but at least so many.
SECONDS, FEWEST = 60.0, 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one backend needs for one structure.

    Attributes:
        atoms: of the structure.
        start: seconds to prepare and to make the first step, compilation included.
        time: µs per atom and step, the median over steps.
        mean_time: likewise the mean, which contains the searches for neighbours and the noise of the machine.
        ratio: time of the reference over this one's, the median over pairs of alternating steps.
        steps: that were timed.
        memory: bytes at the peak, in addition to those of libraries, model and structure.
        total_memory: the same with the reference beside it.
        available: bytes that were free before.
        threads: of torch.
        kernels: that took the place of stages, as `kernels_of` tells them.
    """

    atoms: int
    start: float
    time: float
    mean_time: float
    ratio: float
    steps: int
    memory: int
    total_memory: int
    available: int
    threads: int
    kernels: list[dict[str, Any]]


def measure(argument: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Measure one backend on one structure.

    Args:
        argument: the fields of a `Request`.

    Yields:
        What the backend says of itself, then the `Measurement`.
    """
    request = Request(**argument)
    spec = Spec.parse(request.backend)
    kind = registry().load("executor", spec.name)
    yield asdict(kind.diagnose())
    device = spec.build(kind, device=request.device).device
    potential = halocline.load(request.model, prune=request.prune)
    yield asdict(_measure(request, potential, structure_for(request, potential), device))


def structure_for(request: Request, potential: Potential) -> Atoms:
    """The atoms that a request asks for, of elements that the potential knows."""
    if request.structure is not None:
        return repeated(read_frames(request.structure)[-1], request.atoms)
    return disordered_box(potential.species, request.atoms, request.density)


def stepper(request: Request, potential: Potential, atoms: Atoms) -> Callable[[], None]:
    """Make a function that does one step: atoms move, neighbours, energies and forces follow.

    Raises:
        UsageError: the backend cannot be used, or not on this device or in this dtype.
    """
    return _stepper(_evaluator(request, potential), potential, atoms)


def _evaluator(request: Request, potential: Potential) -> FollowingEvaluator:
    """An evaluator as a request asks for; errors as for `stepper`."""
    options = (request.backend, request.dtype, request.device, "none", "auto", None, request.compress)
    return potential.evaluator(*options)


def _stepper(evaluator: FollowingEvaluator, potential: Potential, atoms: Atoms) -> Callable[[], None]:
    motion = Motion(atoms)

    def step() -> None:
        if not np.isfinite(potential.evaluate_with(evaluator, motion.step()).energy):
            raise StructureError("The energy is not finite; choose another density or structure.")

    return step


def _measure(request: Request, potential: Potential, atoms: Atoms, device: str) -> Measurement:
    """Start, warm up, and time in turns with the reference; memory is that of the device."""
    before, available = peak_memory(device), available_memory(device)
    started = time.perf_counter()
    evaluator = _evaluator(request, potential)
    step = _stepper(evaluator, potential, atoms)
    step()
    start = time.perf_counter() - started
    for _ in range(WARM_UP):
        step()
    memory = peak_memory(device) - before
    seconds, reference = _alternate(step, _reference(request, potential, atoms), request.steps)
    return Measurement(
        atoms=len(atoms),
        start=start,
        time=1e6 * median(seconds) / len(atoms),
        mean_time=1e6 * fmean(seconds) / len(atoms),
        ratio=median(other / own for other, own in zip(reference, seconds, strict=True)),
        steps=len(seconds),
        memory=memory,
        total_memory=peak_memory(device) - before,
        available=available,
        threads=torch.get_num_threads(),
        kernels=kernels_of(evaluator.replaced),
    )


def _reference(request: Request, potential: Potential, atoms: Atoms) -> Callable[[], None]:
    """A warm stepper of the reference."""
    exact = replace(potential, backbone=without_tables(copy.deepcopy(potential.backbone)))
    step = stepper(replace(request, backend=REFERENCE, compress=False), exact, atoms)
    for _ in range(1 + WARM_UP):
        step()
    return step


def _alternate(
    first: Callable[[], None], second: Callable[[], None], steps: int
) -> tuple[list[float], list[float]]:
    """Seconds of each step of both, taken in turns, so that a busy machine is unfair to none."""
    started = time.perf_counter()
    seconds: tuple[list[float], list[float]] = ([], [])
    while len(seconds[0]) < steps:
        for function, taken in zip((first, second), seconds, strict=True):
            before = time.perf_counter()
            function()
            taken.append(time.perf_counter() - before)
        if time.perf_counter() - started > SECONDS and len(seconds[0]) >= FEWEST:
            break
    return seconds
