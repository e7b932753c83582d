"""One evaluation of a structure, taken apart: by stage, by kind of work, by operator."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final, final

import torch

from halocline.context import evaluation_context
from halocline.errors import HaloclineError, UsageError
from halocline.profile.doubts import compilations, of_dtypes, of_sight, of_times
from halocline.profile.roof import Roof
from halocline.profile.rows import (
    BETWEEN,
    PROGRAM,
    WHOLE,
    Place,
    Row,
    operator_rows,
    spread,
    surrounding_rows,
)
from halocline.profile.watch import NETWORK, Clock, Inventory
from halocline.shares import Shares

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.evaluator import Evaluator
    from halocline.potential.potential import Potential

#: Evaluations before the clock counts; the first of them may compile.
WARM_UP: Final = 3

#: No more evaluations are timed once they took so many seconds; but at least so many are.
SECONDS, FEWEST = 60.0, 3

#: Å by which the structure is moved to and fro, farther than the skin of any neighbour list: neighbours are
#: searched at every evaluation, as they are for a structure that is new.
SHIFT: Final = 1.0


@final
@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of one evaluation goes.

    Attributes:
        atoms: of the structure.
        seconds: of each evaluation, timed while nothing watched it.
        rows: that add up to it.
        cpu: CPU seconds of all threads in an evaluation, the median.
        coverage: what sections and operators take together, by what the evaluation takes.
        total: the same of all rows, with what lies between operators.
        overhead: how many times as long an evaluation takes while its operators are timed; None if none was seen.
        roof: of the machine, on the same threads; None where no operator was seen.
        warm_up: evaluations before those that were timed.
        threads: of torch.
        doubts: sentences on what makes numbers doubtful.
    """

    atoms: int
    seconds: tuple[float, ...]
    rows: tuple[Row, ...]
    cpu: float
    coverage: float
    total: float
    overhead: float | None
    roof: Roof | None
    warm_up: int
    threads: int
    doubts: tuple[str, ...]

    @property
    def median(self) -> float:
        """Seconds of an evaluation."""
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """See `Row.spread`."""
        return spread(self.seconds)

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        roof = self.roof
        return {
            "atoms": self.atoms,
            "ms": 1e3 * self.median,
            "spread": self.spread,
            "cpu_ms": 1e3 * self.cpu,
            "repeats": len(self.seconds),
            "warm_up": self.warm_up,
            "threads": self.threads,
            "coverage": self.coverage,
            "total": self.total,
            "overhead": self.overhead,
            "roof": None if roof is None else {"flops": roof.named, "bandwidth": roof.bandwidth},
            "rows": [row.as_json(self.median, roof) for row in self.rows],
            "doubts": self.doubts,
        }


def profile_evaluation(
    potential: Potential,
    evaluator: Evaluator,
    atoms: Atoms,
    *,
    dtype: torch.dtype,
    repeats: int,
    head: str | None = None,
    warm_up: int = WARM_UP,
) -> Profile:
    """Evaluate a structure many times, and see what the time is spent on.

    Three kinds of evaluation take turns, so that a busy machine is unfair to none: one that nothing watches, one
    that counts its sections, and one that times its operators. All of them do the same work.

    Args:
        potential: with the model.
        evaluator: from `Potential.evaluator`.
        atoms: the structure.
        dtype: that it was asked for.
        repeats: evaluations of each kind, at most.
        head: as for a call.
        warm_up: evaluations before.

    Raises:
        UsageError: the evaluator runs the model in other processes.
        HaloclineError: the structure cannot be evaluated; or its operators are others at every evaluation.
    """
    moved = atoms.copy()
    moved.positions += SHIFT
    places = [moved, atoms]

    def evaluate() -> None:
        places.reverse()
        potential.evaluate_with(evaluator, places[0], head)

    for _ in range(warm_up):
        evaluate()
    inventory = _inventory(evaluate)
    wait, visible = _waiting(inventory.device), any(each.origin.stage for each in inventory.operators)
    if visible:
        _operator_seconds(evaluate, wait)
    turns = _Turns()
    with compilations() as compiled:
        turns.take(evaluate, wait, repeats, visible=visible)
    return _profile(len(atoms), inventory, turns, compiled, dtype, warm_up)


class _Turns:
    """What the evaluations that took turns have shown."""

    def __init__(self) -> None:
        self.whole: list[float] = []
        self.cpu: list[float] = []
        self.sections: list[dict[str, float]] = []
        self.operators: list[list[float]] = []
        self.watched: list[float] = []
        self.names: list[list[str]] = []

    def take(self, evaluate: Callable[[], None], wait: Callable[[], None], repeats: int, *, visible: bool) -> None:
        """Time each kind of evaluation so often; operators only if they are visible."""
        began = time.perf_counter()
        for _ in range(repeats):
            cpu = time.process_time()
            self.whole.append(_timed(evaluate, wait))
            self.cpu.append(time.process_time() - cpu)
            shares = Shares(wait)
            with shares.counted():
                evaluate()
            self.sections.append(shares.wall)
            if visible:
                names, seconds, watched = _operator_seconds(evaluate, wait)
                self.names.append(names)
                self.operators.append(seconds)
                self.watched.append(watched)
            if time.perf_counter() - began > SECONDS and len(self.whole) >= FEWEST:
                break


def _timed(evaluate: Callable[[], None], wait: Callable[[], None]) -> float:
    wait()
    began = time.perf_counter()
    evaluate()
    wait()
    return time.perf_counter() - began


def _inventory(evaluate: Callable[[], None]) -> Inventory:
    shares = Shares()
    inventory = Inventory(shares)
    with evaluation_context(), shares.counted(), inventory:
        evaluate()
    if not shares.calls[NETWORK]:
        raise UsageError(
            "The model runs in other processes, whose work cannot be told apart from here; profile the backend "
            "that they run, such as torch."
        )
    return inventory


def _operator_seconds(
    evaluate: Callable[[], None], wait: Callable[[], None]
) -> tuple[list[str], list[float], float]:
    """Names and seconds of the operators of one evaluation, and the seconds of all of it."""
    shares = Shares()
    clock = Clock(shares, wait)
    with evaluation_context(), shares.counted(), clock:
        seconds = _timed(evaluate, wait)
    return [str(name) for name in clock.names], clock.seconds, seconds


def _waiting(device: str) -> Callable[[], None]:
    """Waits for a device; on CPUs there is nothing to wait for."""
    if torch.device(device).type != "cuda":
        return lambda: None
    return lambda: torch.cuda.synchronize(device)


def _profile(
    atoms: int,
    inventory: Inventory,
    turns: _Turns,
    compiled: list[str],
    dtype: torch.dtype,
    warm_up: int,
) -> Profile:
    network = [sections[NETWORK] for sections in turns.sections]
    listed = inventory.operators
    if any(names != [each.name for each in listed] for names in turns.names):
        raise HaloclineError(
            "The operators of the model are others from one evaluation to the next, so that no time can be told "
            "of each; profile a structure with more atoms, or a model without such choices."
        )
    surroundings = surrounding_rows(turns.sections)
    if turns.operators:
        inside = operator_rows(listed, turns.operators)
        sums = [sum(each) for each in turns.operators]
        between = tuple(all_of_it - own for all_of_it, own in zip(network, sums, strict=True))
        inside.append(Row(Place(PROGRAM, BETWEEN), between))
    else:
        sums = network
        inside = [Row(Place(PROGRAM, WHOLE), tuple(network))]
    around = [sum(sections.values()) - sections[NETWORK] for sections in turns.sections]
    before = [row for row in surroundings if row.place.work in ("neighbours", "layout")]
    rows = (*before, *inside, *(row for row in surroundings if row not in before))
    dtypes = frozenset(dtype for row in rows for dtype in row.dtypes)
    whole = median(turns.whole)
    coverage = median(map(sum, zip(around, sums, strict=True))) / whole
    total = median(map(sum, zip(around, network, strict=True))) / whole
    doubts = [
        *of_dtypes(rows, dtype),
        *of_times(turns.whole, turns.cpu, total),
        *(f"Something was compiled while evaluations were timed: {each}" for each in compiled),
        *of_sight(rows, inventory.device),
    ]
    return Profile(
        atoms,
        tuple(turns.whole),
        rows,
        median(turns.cpu),
        coverage,
        total,
        median(turns.watched) / whole if turns.watched else None,
        Roof.measure(inventory.device, dtypes) if dtypes else None,
        warm_up,
        torch.get_num_threads(),
        tuple(doubts),
    )
