"""What is known of one kind of work of one stage, and of everything around the stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Final, NamedTuple, final

import torch

from halocline.model import Work
from halocline.profile.operators import Kind
from halocline.profile.roof import Roof
from halocline.profile.watch import NETWORK, Operator
from halocline.shares import OTHER, SECTIONS

#: Rows of what surrounds the stages, in the order in which it is done; and the sections of an evaluation in each.
STRUCTURE: Final = "structure"
PROGRAM: Final = "program"
SURROUNDINGS: Final = {
    str(Work.NEIGHBOURS): ("list", "search", "cut"),
    "layout": ("layout",),
    "forces": ("sums",),
}
#: What is in no other section: checks, reference energies, contacts, and whether the model is still the same.
CHECKS: Final = "checks"
#: Of the program, what is not within its operators: Python, and autograd's engine.
BETWEEN: Final = "between operators"
#: Of the program, what cuts its inputs for stages and joins what they say.
ASSEMBLY: Final = "assembly"
#: Of a program whose operators are out of sight.
WHOLE: Final = "whole"


class Place(NamedTuple):
    """What a row is about.

    Attributes:
        stage: as in `Origin.stage`; ``structure`` and ``program`` for what surrounds stages.
        work: of `Work`; a kind of operator where the backbone does not say what it is for; or what surrounds them.
        derivative: whether the row is about derivatives.
    """

    stage: str
    work: str
    derivative: bool = False

    @property
    def label(self) -> str:
        """The work, with the sign of a derivative before it."""
        return f"∂ {self.work}" if self.derivative else self.work


@final
@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of work takes.

    Attributes:
        place: what it is about.
        seconds: of each evaluation that was timed.
        operators: calls of operators in one evaluation; 0 of sections that are not made of them alone.
        flops: floating-point operations of one evaluation, by dtype; see `flops_of`.
        bytes: that have to be moved in one evaluation; see `bytes_of`.
        dtypes: elements of results by the dtype that they were computed in.
        shape: of the largest result.
        kinds: operators by kind.
        uncounted: operators whose floating-point operations are not known.
    """

    place: Place
    seconds: tuple[float, ...]
    operators: int = 0
    flops: Mapping[torch.dtype, float] = field(default_factory=dict)
    bytes: float = 0.0
    dtypes: Mapping[torch.dtype, int] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    kinds: Mapping[Kind, int] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """The range of the middle half of the seconds, by their median."""
        return spread(self.seconds)

    @property
    def dtype_names(self) -> tuple[str, ...]:
        """Dtypes that its operators computed in, such as ``float32``, that of most elements first."""
        ranked = sorted(self.dtypes, key=lambda dtype: -self.dtypes[dtype])
        return tuple(map(short, ranked))

    def as_json(self, whole: float, roof: Roof | None) -> dict[str, Any]:
        """Everything as plain values; times in ms, and their part of so many seconds."""
        return {
            **self.place._asdict(),
            "ms": 1e3 * self.median,
            "spread": self.spread,
            "share": self.median / whole,
            "operators": self.operators,
            "flops": {short(dtype): flops for dtype, flops in self.flops.items()},
            "uncounted": self.uncounted,
            "bytes": self.bytes,
            "roof_share": self.roof_share(roof),
            "elements": {short(dtype): elements for dtype, elements in self.dtypes.items()},
            "largest_result": self.shape,
            "kinds": dict(self.kinds),
        }

    def roof_share(self, roof: Roof | None) -> float | None:
        """The least time that the machine could need, by the time taken; None where not all is counted."""
        if roof is None or not self.operators or self.uncounted or not self.median > 0.0:
            return None
        return roof.seconds(self.flops, self.bytes) / self.median


def spread(seconds: Sequence[float]) -> float:
    """The range of the middle half of some numbers, by their median."""
    if len(seconds) < 2 or not median(seconds):
        return 0.0
    lower, _, upper = quantiles(seconds, n=4, method="inclusive")
    return (upper - lower) / abs(median(seconds))


def short(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def operator_rows(operators: Sequence[Operator], seconds: Sequence[Sequence[float]]) -> list[Row]:
    """Rows of all operators of a model, in the order in which its work begins, derivatives behind their works.

    Args:
        operators: of one evaluation.
        seconds: of each evaluation that was timed, of each of them.
    """
    places = [_place(operator) for operator in operators]
    order = dict.fromkeys(place._replace(derivative=False) for place in places)
    wanted = [place._replace(derivative=derivative) for place in order for derivative in (False, True)]
    stages = list(dict.fromkeys(place.stage for place in wanted))
    wanted.sort(key=lambda place: stages.index(place.stage))
    members: dict[Place, list[int]] = {place: [] for place in wanted}
    for number, place in enumerate(places):
        members[place].append(number)
    return [_row(place, operators, numbers, seconds) for place, numbers in members.items() if numbers]


def surrounding_rows(sections: Sequence[Mapping[str, float]]) -> list[Row]:
    """Rows of what surrounds the program.

    Args:
        sections: seconds by section, of each evaluation that was timed.
    """
    named = {name for names in SURROUNDINGS.values() for name in names}
    others = tuple(name for name in (*SECTIONS, OTHER) if name not in named and name != NETWORK)
    groups = SURROUNDINGS | {CHECKS: others}
    return [
        Row(Place(STRUCTURE, work), tuple(sum(each[name] for name in names) for each in sections))
        for work, names in groups.items()
    ]


def _place(operator: Operator) -> Place:
    stage, work, derivative = operator.origin
    unknown = str(operator.kind) if stage else ASSEMBLY
    return Place(stage or PROGRAM, unknown if work is None else str(work), derivative)


def _row(
    place: Place, operators: Sequence[Operator], numbers: Sequence[int], seconds: Sequence[Sequence[float]]
) -> Row:
    own = [operators[number] for number in numbers]
    flops: Counter[torch.dtype] = Counter()
    dtypes: Counter[torch.dtype] = Counter()
    for operator in own:
        if operator.dtype is not None:
            dtypes[operator.dtype] += operator.elements
            flops[operator.dtype] += operator.flops or 0.0  # type: ignore[assignment]
    largest = max(own, key=lambda operator: operator.elements)
    return Row(
        place,
        tuple(sum(each[number] for number in numbers) for each in seconds),
        len(own),
        {dtype: float(count) for dtype, count in flops.items()},
        sum(operator.bytes for operator in own),
        dict(dtypes),
        largest.shape,
        dict(Counter(operator.kind for operator in own)),
        tuple(dict.fromkeys(operator.name for operator in own if operator.flops is None)),
    )
