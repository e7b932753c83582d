"""What checks report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

Status = Literal["passed", "failed", "skipped", "warned"]


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
