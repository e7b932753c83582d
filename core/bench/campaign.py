"""Many measurements: every backend at every size, as far as the memory reaches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, final

from halocline.isolation import call

if TYPE_CHECKING:
    from halocline.bench.request import Request

#: Of the memory that is free, what an estimate may reach.
SHARE = 0.8

#: Seconds after which a measurement is given up.
LIMIT = 3600.0


@final
@dataclass(frozen=True, slots=True)
class Row:
    """What became of one measurement.

    Attributes:
        backend: with its options.
        atoms: that were asked for.
        measurement: the fields of a `halocline.bench.measurement.Measurement`; None if there is none.
        reason: why there is none; empty otherwise.
        diagnosis: what the backend says of itself; empty if it was not asked.
    """

    backend: str
    atoms: int
    measurement: dict[str, Any] | None = None
    reason: str = ""
    diagnosis: dict[str, Any] = field(default_factory=dict)


def measure_all(request: Request, backends: Sequence[str], sizes: Sequence[int]) -> Iterator[Row]:
    """Measure all backends at each size before the next size; one that failed is left out from there on.

    Args:
        request: what they have in common.
        backends: executors with options.
        sizes: numbers of atoms, in the order in which they are measured: increasing, for estimates of memory.
    """
    done: dict[str, list[dict[str, Any]]] = {backend: [] for backend in backends}
    for atoms in sizes:
        for backend in list(done):
            row = _row(replace(request, backend=backend, atoms=atoms), done[backend])
            if row.measurement is None:
                del done[backend]
            else:
                done[backend].append(row.measurement)
            yield row


def _row(request: Request, previous: Sequence[dict[str, Any]]) -> Row:
    """Measure, unless it would not fit."""
    if previous:
        needed, available = _estimate(previous, request.atoms), previous[-1]["available"]
        if needed > SHARE * available:
            reason = f"It would need about {needed / 1e9:.1f} GB, and {available / 1e9:.1f} GB are free."
            return Row(request.backend, request.atoms, None, reason)
    outcome = call("halocline.bench.measurement:measure", asdict(request), LIMIT)
    diagnosis, measurement = (*outcome.values, None, None)[:2]
    return Row(request.backend, request.atoms, measurement, outcome.failure, diagnosis or {})


def _estimate(previous: Sequence[dict[str, Any]], atoms: int) -> float:
    """Bytes for so many atoms, the reference included: on the line through two sizes, in proportion to one."""
    last = previous[-1]
    if len(previous) == 1 or previous[-2]["atoms"] == last["atoms"]:
        return float(last["total_memory"] * atoms / last["atoms"])
    growth = (last["total_memory"] - previous[-2]["total_memory"]) / (last["atoms"] - previous[-2]["atoms"])
    return float(last["total_memory"] + growth * (atoms - last["atoms"]))
