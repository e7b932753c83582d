"""What checks report, and how they are run: whatever happens becomes a result."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, final

import torch

from halocline.context import evaluation_context
from halocline.errors import unknown_name
from halocline.testing.hosts import threads

Status = Literal["passed", "failed", "skipped", "warned"]

SubjectT = TypeVar("SubjectT")

#: Returns if the contract is kept; else raises Failure, NotApplicable or Remark.
Check = Callable[[SubjectT], None]


class Failure(AssertionError):  # noqa: N818 - reads as a result, like the two below
    """The component breaks its contract; the message says how."""


class NotApplicable(Exception):  # noqa: N818 - no error
    """The check makes no statement about this component; the message says why."""


class Remark(Exception):  # noqa: N818 - no error
    """The component keeps its contract, but wastes or risks something."""


@final
@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        check: name of the check, such as ``forces``.
        component: what was checked, such as ``halocline/schnet``.
        status: ``warned`` keeps the contract, with a remark; ``skipped`` means the check does not apply.
        message: why, unless it passed.
    """

    check: str
    component: str
    status: Status
    message: str = ""


@final
@dataclass(frozen=True, slots=True)
class Report:
    """What all checks found.

    Attributes:
        results: one for each check and component, in the order in which they ran.
    """

    results: tuple[CheckResult, ...]

    @property
    def ok(self) -> bool:
        """Whether no check has failed; remarks and checks that do not apply count as passed."""
        return all(result.status != "failed" for result in self.results)


def run_checks(
    checks: Mapping[str, Check[SubjectT]],
    subject: SubjectT,
    component: str,
    names: Iterable[str] | None = None,
) -> Report:
    """Run checks on one subject.

    Args:
        checks: all there are, by name.
        subject: what they look at.
        component: what to call it in the results.
        names: which to run; all by default.

    Raises:
        UsageError: there is no check of such a name.
    """
    chosen = list(checks if names is None else names)
    for name in chosen:
        if name not in checks:
            raise unknown_name("check", name, checks)
    # Samples are so small that waiting for a second thread takes longer than doing its work: the suite would need
    # five times as long on a busy machine.
    with evaluation_context(), threads(1):
        return Report(tuple(_run(name, checks[name], subject, component) for name in chosen))


def _run(name: str, check: Check[SubjectT], subject: SubjectT, component: str) -> CheckResult:
    status: Status = "passed"
    message = ""
    try:
        check(subject)
    except NotApplicable as reason:
        status, message = "skipped", str(reason)
    except Remark as remark:
        status, message = "warned", str(remark)
    except Failure as failure:
        status, message = "failed", str(failure)
    except Exception as error:  # whatever a component raises is a finding about it, not the end of the suite
        status, message = "failed", f"{type(error).__name__}: {error}{_where(error)}"
    return CheckResult(name, component, status, message)


def _where(error: Exception) -> str:
    """The innermost line outside of torch: most often the line of the component that is to be mended."""
    library = str(Path(torch.__file__).parent)
    lines = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in lines if not frame.filename.startswith(library)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
