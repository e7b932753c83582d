"""Run checks and turn whatever happens into results."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from halocline.context import evaluation_context
from halocline.errors import unknown_name
from halocline.testing.hosts import threads
from halocline.testing.report import CheckResult, Failure, NotApplicable, Remark, Report, Status

SubjectT = TypeVar("SubjectT")

#: Returns if the contract is kept; else raises Failure, NotApplicable or Remark.
Check = Callable[[SubjectT], None]


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
