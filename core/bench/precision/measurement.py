"""One policy, in the process that is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, cast, final

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

import halocline
from halocline.bench.measurement import WARM_UP, structure_for
from halocline.bench.memory import peak_memory
from halocline.bench.precision.drift import Drift, nve_drift
from halocline.bench.precision.loops import Curl, curl
from halocline.bench.precision.what_ran import require_ran, what_ran
from halocline.bench.request import Request
from halocline.bench.structures import Motion
from halocline.errors import DynamicsError, UsageError
from halocline.evaluator import LocalEvaluator
from halocline.evaluator.result import Result
from halocline.plugin import registry
from halocline.potential.combined import Combined
from halocline.potential.potential import Potential
from halocline.potential.term import Term
from halocline.program import Precision
from halocline.program.policy import PrecisionPolicy
from halocline.spec import Spec

#: What times refer to, and what errors do.
TIMED_BY: Final = PrecisionPolicy(Precision.FLOAT32, {})
EXACT: Final = PrecisionPolicy(Precision.FLOAT64, {})

#: Structures that errors are measured on: so many, so many steps of free flight apart. Much farther, and atoms
#: would fly into each other.
STRUCTURES: Final = 8
STEPS_BETWEEN: Final = 2


@final
@dataclass(frozen=True, slots=True)
class Deviation:
    """Differences from float64.

    Attributes:
        energy_max: eV per atom, the largest over structures.
        energy_rms: eV per atom, root of their mean square.
        force_max: eV/Å, the largest component.
        force_rms: eV/Å, root of their mean square.
        force_scale: eV/Å, root of the mean square of the forces themselves.
    """

    energy_max: float
    energy_rms: float
    force_max: float
    force_rms: float
    force_scale: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyMeasurement:
    """What a policy costs and loses.

    Attributes:
        atoms: of the structure.
        time: ms of CPU time for one step, all threads together: the median.
        spread: ms, between the quartiles of the steps.
        ratio: CPU time by that of float32, the median over pairs of alternating steps.
        steps: that were timed, of each.
        warm_up: steps before them.
        memory: bytes at the peak, in addition to those of libraries, model and structure.
        ran: stage → dtype → share of the elements that were computed in it, derivatives included.
        deviation: from float64.
        curl: of the forces.
        drift: in the NVE ensemble; None if it was not asked for.
        stopped: why dynamics had to stop; empty if they did not.
        threads: of torch.
        load: of the machine, its mean over the last minute.
    """

    atoms: int
    time: float
    spread: float
    ratio: float
    steps: int
    warm_up: int
    memory: int
    ran: dict[str, dict[str, float]]
    deviation: Deviation
    curl: Curl
    drift: Drift | None
    stopped: str
    threads: int
    load: float


def measure(argument: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Measure one policy on one structure.

    Args:
        argument: ``request``, the fields of a `Request` whose dtype is a policy; and ``picoseconds`` of dynamics.

    Yields:
        The `PolicyMeasurement`.
    """
    request = Request(**argument["request"])
    potential = halocline.load(request.model, prune=request.prune)
    yield asdict(measure_policy(request, potential, structure_for(request, potential), argument["picoseconds"]))


def measure_policy(request: Request, potential: Potential, atoms: Atoms, picoseconds: float) -> PolicyMeasurement:
    """Measure a policy, which `Request.dtype` names.

    Raises:
        PrecisionError: it is not what ran.
        UsageError: it does not suit the model or the backend.
    """
    policy, before = PrecisionPolicy.parse(request.dtype), peak_memory("cpu")
    model = _Model(request, potential, policy)
    motion = Motion(atoms)
    for _ in range(WARM_UP):
        model.evaluate(motion.step())
    memory = peak_memory("cpu") - before
    ran = what_ran(lambda: model.evaluate(motion.step()))
    require_ran(policy, potential.backbone, ran)
    own, reference = _in_turns(model, _Model(request, potential, TIMED_BY), atoms, request.steps)
    drift, stopped = _drift(model, atoms, picoseconds)
    quartiles = np.percentile(own, [25, 75])
    return PolicyMeasurement(
        atoms=len(atoms),
        time=1e3 * float(np.median(own)),
        spread=1e3 * float(quartiles[1] - quartiles[0]),
        ratio=float(np.median(own / reference)),
        steps=request.steps,
        warm_up=WARM_UP,
        memory=memory,
        ran=ran,
        deviation=_deviation(model, _Model(request, potential, EXACT), atoms),
        curl=curl(lambda each: model.evaluate(each).forces, atoms),
        drift=drift,
        stopped=stopped,
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0],
    )


@final
class _Model:
    """A potential under a policy, ready to evaluate.

    Raises:
        UsageError: the policy does not suit the model or the backend.
    """

    def __init__(self, request: Request, potential: Potential, policy: PrecisionPolicy) -> None:
        backbone, spec = potential.backbone, Spec.parse(request.backend)
        if isinstance(backbone, Combined | Term) or backbone.pooled_head is not None:
            raise UsageError("Precision policies are for single models that add up energies of atoms.")
        kind = registry().load("executor", spec.name)
        self._evaluator = LocalEvaluator(
            backbone,
            spec.build(kind, device=request.device),
            policy.program,
            policy=policy,  # where all is of one dtype, too: no policy has its stages run by kernels
        )
        self._potential = potential

    def evaluate(self, atoms: Atoms) -> Result:
        """Energy, forces and stress."""
        return self._potential.evaluate_with(self._evaluator, atoms)


@final
class _Calculator(Calculator):
    """What dynamics ask for."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, model: _Model) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Energy and forces; and the stress, if there is one."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        result = self._model.evaluate(cast("Atoms", self.atoms))
        self.results = {"energy": result.energy, "forces": result.forces}
        if result.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(result.stress)


def _in_turns(
    model: _Model, reference: _Model, atoms: Atoms, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CPU seconds of each step of both, in turns, so that a busy machine is unfair to none."""
    motions = Motion(atoms), Motion(atoms)
    seconds = np.zeros((WARM_UP + steps, 2))
    for step in range(len(seconds)):
        for place, each in enumerate((model, reference)):
            moved = motions[place].step()
            before = time.process_time()
            each.evaluate(moved)
            seconds[step, place] = time.process_time() - before
    return seconds[WARM_UP:, 0], seconds[WARM_UP:, 1]


def _deviation(model: _Model, exact: _Model, atoms: Atoms) -> Deviation:
    """Differences of a model from another, over structures that follow each other in free flight."""
    motion, energies, forces, scale = Motion(atoms), [], [], []
    for step in range(1, STRUCTURES * STEPS_BETWEEN + 1):
        moved = motion.step()
        if step % STEPS_BETWEEN:
            continue
        found, expected = model.evaluate(moved), exact.evaluate(moved)
        energies.append((found.energy - expected.energy) / len(atoms))
        forces.append(found.forces - expected.forces)
        scale.append(expected.forces)
    return Deviation(_most(energies), _rms(energies), _most(forces), _rms(forces), _rms(scale))


def _drift(model: _Model, atoms: Atoms, picoseconds: float) -> tuple[Drift | None, str]:
    if not picoseconds:
        return None, ""
    try:
        return nve_drift(atoms, _Calculator(model), picoseconds), ""
    except DynamicsError as error:
        return None, str(error)


def _most(values: list[Any]) -> float:
    return float(np.abs(values).max())


def _rms(values: list[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
