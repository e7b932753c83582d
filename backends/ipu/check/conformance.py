"""Hold a program against what PopTorch can compile, before PopTorch sees it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

from halocline.backends.ipu.check import arguments, operations
from halocline.backends.ipu.check.call import Call, Violation
from halocline.backends.ipu.check.memory import BUDGET, MemoryEstimate, estimate_memory
from halocline.backends.ipu.check.operations import LATEST, supported
from halocline.backends.ipu.check.read import read_calls
from halocline.backends.ipu.check.signature import check_names, check_signature
from halocline.backends.ipu.check.values import check_values
from halocline.backends.ipu.program_file import IpuProgram
from halocline.errors import LoweringError

_LOG = logging.getLogger(__name__)

#: Rule → what it says of a call, or nothing. A call is reported once, by the first rule that it breaks.
_CALL_RULES: Final[dict[str, Callable[[Call], str]]] = {
    "forbidden": operations.forbidden,
    "backward": operations.backward,
    "random": operations.random,
    "in-place": operations.in_place,
    "data-dependent": operations.data_dependent,
    "accumulate": arguments.accumulate,
    "reduction": arguments.reduction,
    "dynamic-size": arguments.dynamic_size,
    "constant": arguments.constant,
    "form": arguments.form,
    "number-range": arguments.number_range,
    "device": operations.device,
    "factory": operations.factory,
}

#: Violations that an error lists; the others are counted.
_SHOWN: Final = 3


@final
@dataclass(frozen=True, slots=True)
class ProgramReport:
    """The outcome of a check.

    Attributes:
        violations: empty if the program conforms.
        memory: an estimate; None where tensors have no names to be followed by.
    """

    violations: tuple[Violation, ...]
    memory: MemoryEstimate | None


def examine(
    program: IpuProgram, *, sdk: str = LATEST, buffering: int = 1, training: bool = False, budget: int = BUDGET
) -> ProgramReport:
    """Check everything that can be known without running the program.

    Args:
        program: to be compiled.
        sdk: version of the SDK that will compile it.
        buffering: see `estimate_memory`.
        training: likewise.
        budget: bytes on one IPU.

    Raises:
        UsageError: the SDK is not known.
    """
    names = tuple(check_names(program))
    if names:
        return ProgramReport(names, None)
    types, calls, violations = read_calls(program)
    violations += [each for call in calls for each in check_call(call, supported(sdk))]
    violations += check_values(program, types.values(), calls)
    violations += check_signature(program, types)
    memory = estimate_memory(program, types, calls, buffering=buffering, training=training, budget=budget)
    if not memory.fits:
        violations.append(Violation("memory", "the program", f"it needs {memory}; use smaller structures."))
    return ProgramReport(tuple(violations), memory)


def check_call(call: Call, handled: frozenset[str]) -> Iterator[Violation]:
    """The first rule that a call breaks."""
    for rule, judge in _CALL_RULES.items():
        if sentence := judge(call):
            yield Violation(rule, call.where, sentence)
            return
    if call.name not in handled:
        yield Violation("handler", call.where, f"PopTorch has no handler for {call.name}; use other operations.")
    elif call.failure:
        sentence = f"its result has no shape that can be known beforehand ({call.failure})."
        yield Violation("shape-inference", call.where, sentence)


def check_program(program: IpuProgram, *, sdk: str = LATEST) -> tuple[Violation, ...]:
    """All that PopTorch would refuse or compute wrongly; empty if the program conforms."""
    return examine(program, sdk=sdk).violations


def require_conformance(program: IpuProgram, *, sdk: str = LATEST, training: bool = False) -> None:
    """Refuse a program that does not conform; log what may not fit.

    Raises:
        LoweringError: with the first violations.
    """
    report = examine(program, sdk=sdk, training=training)
    if report.violations:
        raise LoweringError(f"The program cannot run on an IPU. {_listed(report.violations)}")
    for warning in report.memory.warnings if report.memory else ():
        _LOG.warning("%s", warning)


def _listed(violations: Sequence[Violation]) -> str:
    more = len(violations) - _SHOWN
    shown = " ".join(str(violation) for violation in violations[:_SHOWN])
    return f"{shown} And {more} more." if more > 0 else shown
