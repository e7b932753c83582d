"""Policy after policy, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, final

from halocline.isolation import call
from halocline.program.policy import PrecisionPolicy

if TYPE_CHECKING:
    from halocline.bench.request import Request
    from halocline.model.backbone import Backbone

#: Seconds after which a measurement is given up.
LIMIT: Final = 6 * 3600.0

#: What is compared unless policies are named: whole programs, kinds of sums, and half precision by regions.
DEFAULTS: Final = (
    "float64",
    "float32",
    "float32:sums=float64",
    "float32:sums=compensated",
    "float32:radial=bfloat16",
    "float32:radial=float16",
    "float32:layers=bfloat16",
    "float32:layers=float16",
)


@final
@dataclass(frozen=True, slots=True)
class PolicyRow:
    """What became of one policy.

    Attributes:
        policy: as it was asked for.
        measurement: the fields of a `halocline.bench.precision.measurement.PolicyMeasurement`; None if there is
            none.
        reason: why there is none; empty otherwise.
    """

    policy: str
    measurement: dict[str, Any] | None = None
    reason: str = ""


def default_policies(backbone: Backbone) -> list[str]:
    """Those of `DEFAULTS` whose regions the backbone has."""
    return [policy for policy in DEFAULTS if PrecisionPolicy.parse(policy).suits(backbone)]


def measure_policies(request: Request, policies: Sequence[str], picoseconds: float) -> Iterator[PolicyRow]:
    """Measure one policy after another.

    Args:
        request: what they have in common; its dtype is left aside.
        policies: see `PrecisionPolicy.parse`.
        picoseconds: of dynamics in the NVE ensemble; 0 for none.
    """
    for policy in policies:
        argument = {"request": asdict(replace(request, dtype=policy)), "picoseconds": picoseconds}
        outcome = call("halocline.bench.precision.measurement:measure", argument, LIMIT)
        yield PolicyRow(policy, outcome.values[0] if outcome.values else None, outcome.failure)
