"""Examine a backend from outside: each examination has a process of its own, which may end as it likes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, final

from halocline.isolation import CallOutcome, call

#: ``unusable``: it says so itself; ``wrong``: its numbers are; ``failed``: it crashed, hung or raised.
Status = Literal["ok", "unusable", "wrong", "failed"]


@final
@dataclass(frozen=True, slots=True)
class SelfTest:
    """What a backend computed in one precision, beside the eager float64 result.

    Attributes:
        precision: of the network.
        energy_error: largest error of an atom's energy, eV; None if something is not finite.
        energy_tolerance: eV.
        force_error: largest error of a force component, eV/Å; None if something is not finite.
        force_tolerance: eV/Å.
        start: seconds until the first result of each structure, compilation included.
        repeats: how often each structure was evaluated; the errors are the largest of all.
    """

    precision: str
    energy_error: float | None
    energy_tolerance: float
    force_error: float | None
    force_tolerance: float
    start: float
    repeats: int

    @property
    def passed(self) -> bool:
        """Whether both errors are within their tolerances."""
        pairs = ((self.energy_error, self.energy_tolerance), (self.force_error, self.force_tolerance))
        return all(error is not None and error <= tolerance for error, tolerance in pairs)


@final
@dataclass(frozen=True, slots=True)
class Examination:
    """What was found out about one backend, or one variant of it.

    Attributes:
        backend: as one would give it to ``--backend``.
        status: the verdict.
        reason: why the status is not ``ok``; empty otherwise.
        diagnosis: what the backend says of itself, with the fields of `halocline.executor.Diagnosis`; empty if it
            did not get that far.
        variant: the options alone; empty for the backend as such.
        variants: sets of options that it wants to be tested with.
        tests: one for each precision that was reached.
    """

    backend: str
    status: Status
    reason: str = ""
    diagnosis: dict[str, Any] = field(default_factory=dict)
    variant: str = ""
    variants: tuple[str, ...] = ()
    tests: tuple[SelfTest, ...] = ()


def examine(name: str, variant: str, seconds: float) -> Examination:
    """Diagnose a backend and let it compute something.

    Args:
        name: of an executor.
        variant: its options, as ``key=value,...``.
        seconds: after which it counts as hanging.
    """
    backend = f"{name}:{variant}" if variant else name
    outcome = call("halocline.doctor.selftest:run", {"name": name, "backend": backend}, seconds)
    first, tests = outcome.values[:1], tuple(SelfTest(**test) for test in outcome.values[1:])
    diagnosis, variants = (first[0]["diagnosis"], tuple(first[0]["variants"])) if first else ({}, ())
    status, reason = _verdict(outcome, diagnosis, tests)
    return Examination(backend, status, reason, diagnosis, variant, variants, tests)


def _verdict(outcome: CallOutcome, diagnosis: dict[str, Any], tests: tuple[SelfTest, ...]) -> tuple[Status, str]:
    wrong = ", ".join(test.precision for test in tests if not test.passed)
    if wrong:
        return "wrong", f"Its numbers in {wrong} differ from the eager float64 result by more than rounding."
    if outcome.refused:
        return "unusable", outcome.failure
    if outcome.failure:
        return "failed", outcome.failure
    if tests:
        return "ok", ""
    if diagnosis and not diagnosis["usable"]:
        return "unusable", diagnosis["reason"]
    return "failed", "It ended the process without a word."
