"""The checks of an executor: its sessions give what the eager definition gives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from halocline.errors import UsageError
from halocline.evaluator.result import Result
from halocline.executor import Diagnosis, Executor, Session
from halocline.model import Backbone
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.spec import Spec
from halocline.testing.comparison import require_agreement, require_identical
from halocline.testing.evaluate import ProgramFunction, divide, sum_parts
from halocline.testing.hosts import BUNDLES, together
from halocline.testing.report import Failure
from halocline.testing.stages import require_stages
from halocline.testing.subject import Subject


@final
@dataclass(frozen=True, slots=True)
class ExecutorSubject:
    """An executor, and a backbone to run on it."""

    executor: Executor
    subject: Subject

    @classmethod
    def of(cls, executor: Executor, backbone: Backbone) -> ExecutorSubject:
        """Look at an executor by means of a backbone."""
        return cls(executor, Subject(backbone))

    def frozen(self, precision: Precision) -> FrozenModel:
        """A frozen model of its own: executors may keep or change what they are given."""
        return FrozenModel.freeze(
            self.subject.backbone, precision, self.executor.capabilities, self.executor.device
        )

    def session(self, precision: Precision) -> Session:
        """The session that the executor prepares of the backbone, frozen in this precision."""
        return self.executor.prepare(self.frozen(precision))

    def evaluate(
        self, run: ProgramFunction, precision: Precision, atoms: Atoms, owners: NDArray[np.int64] | None = None
    ) -> Result:
        """Run a session on a structure, whole or in parts that own something."""
        graph = self.subject.graph(atoms)
        parts = [p for p in divide(graph, self.subject.backbone.hops, owners) if p.levels[0]]
        form, shapes = self.executor.capabilities.form, self.subject.backbone.shapes
        return sum_parts(run, graph, parts, form, precision, self.executor.device, shapes)


def check_results(subject: ExecutorSubject) -> None:
    """One session per precision gives every sample's energies, forces and virial, whole and summed over parts.

    They do not depend on the sizes that came before. One session serves all of this, since preparing may take
    minutes.
    """
    samples = subject.subject.samples
    for precision in subject.executor.capabilities.precisions:
        session = subject.session(precision)
        first = subject.evaluate(session, precision, samples.crystal)
        for name, atoms in (samples.all() | {"lone atom": samples.atom}).items():
            result = subject.evaluate(session, precision, atoms)
            _require_reference(subject, f"of the {name} in {precision.value}", result, precision, atoms)
        owners = np.random.default_rng(9).integers(0, 3, len(samples.wire))
        result = subject.evaluate(session, precision, samples.wire, owners)
        _require_reference(subject, f"summed over parts in {precision.value}", result, precision, samples.wire)
        again, what = (
            subject.evaluate(session, precision, samples.crystal),
            f"after other structures in {precision}",
        )
        if subject.executor.reproducible:
            require_identical(what, again, first)
        else:
            _require_reference(subject, what, again, precision, samples.crystal)


def check_stages(subject: ExecutorSubject) -> None:
    """Stages run one by one give the eager definition's values and vector-Jacobian products."""
    for precision in subject.executor.capabilities.precisions:
        require_stages(subject.executor, subject.frozen(precision))


def check_host_contexts(subject: ExecutorSubject) -> None:
    """Prepared and first run within a host's contexts, then outside, then within others: the same numbers.

    One session in the lowest precision, which autocast would change, serves all of this, and hosts come in
    bundles, since preparing may take minutes.
    """
    precision = min(subject.executor.capabilities.precisions, key=lambda each: each.torch.itemsize)
    atoms = subject.subject.samples.crystal
    before, after = BUNDLES
    with together(before):
        session = subject.session(precision)
        results = {f"prepared under {', '.join(before)}": subject.evaluate(session, precision, atoms)}
    results["prepared so, and run outside"] = subject.evaluate(session, precision, atoms)
    with together(after):
        results[f"under {', '.join(after)}"] = subject.evaluate(session, precision, atoms)
    for what, result in results.items():
        _require_reference(subject, what, result, precision, atoms)


def check_devices(subject: ExecutorSubject) -> None:
    """A device that is not there is refused with UsageError; no executor falls back to another.

    Raises:
        Failure: it is accepted.
    """
    try:
        type(subject.executor)(device="no-such-device")  # type: ignore[call-arg]
    except UsageError:
        return
    raise Failure("The device 'no-such-device' is accepted; raise UsageError.")


def check_diagnosis(subject: ExecutorSubject) -> None:
    """A diagnosis says in text whether the backend can be used, and why if not; variants are sets of options.

    Raises:
        Failure: it does not.
    """
    kind = type(subject.executor)
    diagnosis = kind.diagnose()
    if not isinstance(diagnosis, Diagnosis):
        raise Failure(f"diagnose returns {type(diagnosis).__name__}; let it return a Diagnosis.")
    if diagnosis.usable == bool(diagnosis.reason):
        raise Failure("A reason is needed where the backend is not usable, and only there.")
    texts = (*diagnosis.versions.values(), *diagnosis.devices, *diagnosis.details.values())
    if not all(isinstance(text, str) for text in texts):
        raise Failure("Versions, devices and details of a diagnosis are text.")
    if kind.variants[:1] != ("",):
        raise Failure(f"The first variant is {kind.variants[:1]}; let it be '', the executor without options.")
    for variant in kind.variants:
        Spec.parse(f"name:{variant}")


def _require_reference(
    subject: ExecutorSubject, what: str, result: Result, precision: Precision, atoms: Atoms
) -> None:
    """Compare with the eager definition in float64."""
    frozen = FrozenModel.freeze(
        subject.subject.backbone, Precision.FLOAT64, Capabilities.reference(subject.executor.capabilities.form)
    )
    graph = subject.subject.graph(atoms)
    parts = divide(graph, subject.subject.backbone.hops, None)
    run = partial(energies_and_gradients, frozen.backbone)
    shapes = frozen.backbone.shapes
    expected = sum_parts(run, graph, parts, frozen.form, Precision.FLOAT64, shapes=shapes)
    require_agreement(what, result, expected, precision)


#: All checks of an executor by name.
EXECUTOR_CHECKS = MappingProxyType(
    {
        "results": check_results,
        "stages": check_stages,
        "host-contexts": check_host_contexts,
        "devices": check_devices,
        "diagnosis": check_diagnosis,
    }
)
