"""Radial functions from tables: what ``--compress`` does."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.aggregation import Form, KeptTable, RadialFunction, TabulatedFunction
from halocline.errors import KernelError
from halocline.graph.graph import COINCIDENT
from halocline.model.stage import Stage
from halocline.partition.size import format_size
from halocline.plugins.kernels.table_worth import Worth, digest, remembered
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

_logger = logging.getLogger(__name__)

#: Largest errors of tabulated values, and of their slopes, relative to the largest there is: those of a network in
#: float32, whose forces are right to about 3e-6.
VALUE: Final = 1e-7
SLOPE: Final = 1e-6

#: Intervals of a table: the first power of two that is accurate enough.
FEWEST, MOST = 64, 8192

#: Bytes of a number in float32, and of the largest tables of one set of radial functions in it.
BYTES, LARGEST = 4, 256 * 1024**2

#: Distances in each interval at which a table is held against the function: its beginning, and seven more.
CHECKED: Final = 8
_PLACES: Final = np.arange(CHECKED) / CHECKED
#: The one of them near which splines have their worst slopes, which decide more often than values.
_WORST: Final = np.array([0.25])

#: A table that is so many times farther off than allowed at one distance in each interval is not measured at all.
#: More than one, as the largest value, which errors are relative to, may lie elsewhere.
_HOPELESS: Final = 1.2

#: Distances that are evaluated together.
_BATCH: Final = 4096

#: Distances by which functions of pairs of kinds of atom are told apart.
_PROBED: Final = 8


@final
class Tables(Kernel):
    """Cubic splines take the place of all radial functions of a stage."""

    version = 2
    exact = False
    # Errors of slopes, of which there are some for each edge, and of their sums over neighbours.
    tolerances = {Precision.FLOAT64: 10 * SLOPE, Precision.FLOAT32: 10 * SLOPE}  # noqa: RUF012

    def suits(self, stage: Stage) -> bool:
        """Whether there are radial functions in it."""
        return any(isinstance(module, RadialFunction) for module in stage.modules())

    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """See `Kernel.replace`."""
        del form, precision, device
        for path, module in list(stage.named_modules()):
            if isinstance(module, RadialFunction):
                made = tabulate(module) if module.kept is None else restored(module, module.kept)
                stage.set_submodule(path, made)
        return stage


class Accuracy(NamedTuple):
    """How far a table is from its function.

    Attributes:
        value: largest error of a value, relative to the largest value.
        slope: largest error of a derivative by the distance, relative to the largest.
    """

    value: float
    slope: float

    @property
    def enough(self) -> bool:
        """Whether neither is larger than allowed."""
        return self.value <= VALUE and self.slope <= SLOPE

    @property
    def likely(self) -> bool:
        """Whether it may be what is left of enough, at some of the distances."""
        return self.value <= _HOPELESS * VALUE and self.slope <= _HOPELESS * SLOPE

    @property
    def hopeless(self) -> bool:
        """Whether one is so large that no more distances need to be looked at; not where it is not a number."""
        return self.value > _HOPELESS * VALUE or self.slope > _HOPELESS * SLOPE

    def or_worse(self, other: Accuracy) -> Accuracy:
        """The larger one of each; what is not a number is the largest."""
        return Accuracy(*map(float, np.maximum(self, other)))


def tabulate(function: RadialFunction) -> TabulatedFunction:
    """The smallest table that is accurate enough over the whole range, for all pairs of kinds of atom.

    Splines have continuous second derivatives. They are made and held against the function in float64, at
    distances from the shortest that atoms may have to the end.

    Args:
        function: in float64.

    Raises:
        KernelError: its range has no end or begins too late, or no table of at most `MOST` intervals and `LARGEST`
            bytes will do.
    """
    if not math.isfinite(function.end):
        raise KernelError("its radial functions have no end, as those of models with the nearest neighbours")
    if function.start > COINCIDENT:
        raise KernelError(f"its radial functions begin at {function.start:g} Å, and atoms can be nearer")
    numbers, pairs = _different(function)
    key = digest(function, numbers, _about(), {})
    worth, splines = remembered(key, partial(_smallest, function, numbers), partial(_known, function, numbers))
    accuracy = Accuracy(worth.value, worth.slope)
    _logger.info("%d intervals: values to %.0e, slopes to %.0e.", worth.intervals, *accuracy)
    return _table(function, numbers, splines, pairs, accuracy)


def _about() -> str:
    """What else decides what a table is worth, beside function and table."""
    return f"{Tables.version} {FEWEST} {MOST} {CHECKED} {VALUE} {SLOPE} {torch.__version__}"


def _smallest(function: RadialFunction, numbers: list[int | None]) -> tuple[Worth, list[CubicSpline]]:
    """The splines of the smallest table that will do."""
    intervals, accuracy = FEWEST, Accuracy(math.inf, math.inf)
    while intervals <= MOST:
        _require_room(function, len(numbers), intervals)
        splines, accuracy = _splines(function, numbers, intervals)
        if accuracy.enough:
            return Worth(intervals, *accuracy), splines
        intervals *= 2
    raise KernelError(
        f"a table of {MOST} intervals misses its radial functions by {accuracy.value:.0e} of the largest value "
        f"and {accuracy.slope:.0e} of the largest slope, where {VALUE:.0e} and {SLOPE:.0e} are allowed"
    )


def _known(function: RadialFunction, numbers: list[int | None], worth: Worth) -> list[CubicSpline] | None:
    """The splines of a table that was found to be worth this; None where a look at each interval denies it."""
    _require_room(function, len(numbers), worth.intervals)
    splines = []
    for number in numbers:
        splines.append(_spline(function, number, worth.intervals))
        if not measure(function, splines[-1], worth.intervals, number, _WORST).likely:
            return None
    return splines


def restored(function: RadialFunction, kept: KeptTable) -> TabulatedFunction:
    """The table that a compressed model carries, held against the function over the whole range like any other.

    Args:
        function: in float64.
        kept: the table.

    Raises:
        KernelError: it is not a table of this function, or not for all pairs of kinds that this one is asked for.
    """
    if not math.isfinite(function.end):
        raise KernelError("its radial functions have no end, and a table that it carries has")
    numbers, different = _different(function)
    tables = [
        (which, number)
        for place, number in enumerate(numbers)
        for which in _kept_for(kept, None if different is None else different == place)
    ]

    def find() -> tuple[Worth, bool]:
        accuracy = _held(function, kept, tables, _PLACES)
        if not accuracy.enough:
            raise KernelError(
                f"the tables that it carries miss its radial functions by {accuracy.value:.0e} of the largest "
                f"value and {accuracy.slope:.0e} of the largest slope: they were made for other weights"
            )
        return Worth(kept.intervals, *accuracy), True

    def again(worth: Worth) -> bool | None:
        del worth
        return _held(function, kept, tables, _WORST).likely or None

    key = digest(function, numbers, f"{_about()} {tables}", _tensors(kept))
    worth, _ = remembered(key, find, again)
    errors = worth.value, worth.slope
    return TabulatedFunction(kept.coefficients, kept.last, function.start, function.end, kept.pairs, errors)


def _tensors(kept: KeptTable) -> dict[str, Tensor]:
    tensors = {"coefficients": kept.coefficients, "last": kept.last, "pairs": kept.pairs}
    return {f"kept {name}": tensor for name, tensor in tensors.items() if tensor is not None}


def _held(
    function: RadialFunction,
    kept: KeptTable,
    tables: list[tuple[int, int | None]],
    places: NDArray[np.float64],
) -> Accuracy:
    """The worst accuracy of some tables, each with the number of its function, at places in each interval."""
    accuracy = Accuracy(0.0, 0.0)
    for which, number in tables:
        found = _KeptSpline(kept, which, function.start, function.end)
        accuracy = accuracy.or_worse(measure(function, found, kept.intervals, number, places))
        accuracy = accuracy.or_worse(_at_the_end(function, kept, which, number))
    return accuracy


def _kept_for(kept: KeptTable, where: Tensor | None) -> list[int]:
    """Which of the tables are there for some pairs of kinds, (S, S), that have the same function.

    Raises:
        KernelError: a pair has none.
    """
    if where is None or kept.pairs is None:
        return [0]
    found: list[int] = torch.unique(kept.pairs[where]).tolist()
    if RadialFunction.NONE in found:
        raise KernelError("it carries tables for some of its elements only; compress it anew for all of them")
    return found


def _at_the_end(function: RadialFunction, kept: KeptTable, which: int, number: int | None) -> Accuracy:
    """How far what a table has from the end on is off."""
    wrong = np.abs(kept.last[which].numpy() - _values(function, np.array([function.end]), number)[0]).max()
    largest = np.abs(kept.coefficients[which].numpy()).max()
    return Accuracy(float(wrong / np.maximum(largest, np.finfo(np.float64).tiny)), 0.0)


class _KeptSpline:
    """Values, and derivatives of them, of one of the tables; it is called as a `CubicSpline` is."""

    def __init__(self, kept: KeptTable, which: int, start: float, end: float) -> None:
        self._powers = kept.coefficients[which].numpy()
        self._start, self._per_length = start, kept.intervals / (end - start)

    def __call__(self, points: NDArray[np.float64], derivative: int = 0) -> NDArray[np.float64]:
        places = (points - self._start) * self._per_length
        rows = np.minimum(places.astype(np.int64), len(self._powers) - 1)
        t = (places - rows)[:, None]
        c0, c1, c2, c3 = self._powers[rows].transpose(1, 0, 2)
        if derivative:
            slopes: NDArray[np.float64] = (c1 + t * (2.0 * c2 + t * 3.0 * c3)) * self._per_length
            return slopes
        values: NDArray[np.float64] = c0 + t * (c1 + t * (c2 + t * c3))
        return values


def measure(
    function: RadialFunction,
    spline: Callable[..., NDArray[np.float64]],
    intervals: int,
    number: int | None = None,
    places: NDArray[np.float64] = _PLACES,
) -> Accuracy:
    """Compare values and slopes at many distances in each interval.

    Args:
        function: in float64.
        spline: of the functions of one pair of kinds, such as a `CubicSpline`.
        intervals: of the spline.
        number: of the pair; None where all pairs have the same.
        places: in each interval, from 0 to 1.
    """
    length = (function.end - function.start) / intervals
    points = function.start + (np.arange(intervals)[:, None] + places).ravel() * length
    worst, largest = np.zeros(2), np.zeros(2)
    for batch in _batches(points):
        found = (spline(batch), spline(batch, 1))
        expected = values_and_slopes(function, torch.from_numpy(batch), number)
        for which, (ours, exact) in enumerate(zip(found, expected, strict=True)):
            # By NumPy, since Python's `max` would let NaN pass.
            worst[which] = np.maximum(worst[which], np.abs(ours - exact.numpy()).max())
            largest[which] = np.maximum(largest[which], float(exact.abs().max()))
    return Accuracy(*(float(error) for error in worst / np.maximum(largest, np.finfo(np.float64).tiny)))


def values_and_slopes(
    function: RadialFunction, distances: Tensor, number: int | None = None
) -> tuple[Tensor, Tensor]:
    """Values and derivatives by the distance, both (D, C), at distances (D,) in Å, for one pair of kinds."""
    with torch.enable_grad():
        distances = distances.detach().requires_grad_(True)
        values = _evaluated(function, distances, number)
        # The derivative is linear in the cotangent: its own derivative by that is the slope of every channel.
        cotangents = torch.zeros_like(values, requires_grad=True)
        (pulls,) = torch.autograd.grad(values, distances, cotangents, create_graph=True)
        (slopes,) = torch.autograd.grad(pulls, cotangents, torch.ones_like(pulls))
    return values.detach(), slopes


def _different(function: RadialFunction) -> tuple[list[int | None], Tensor | None]:
    """The numbers of functions that differ, and which of these every pair of kinds has, (S, S).

    Pairs of atoms whose covalent radii have the same sum, for example, share theirs.
    """
    if function.pairs is None:
        return [None], None
    met = torch.unique(function.pairs[function.pairs != RadialFunction.NONE])
    probed = torch.linspace(function.start, function.end, _PROBED + 2, dtype=torch.float64)[1:-1]
    with torch.no_grad():
        seen = torch.stack([_evaluated(function, probed, int(number)).flatten() for number in met])
    _, first, which = np.unique(seen.numpy(), axis=0, return_index=True, return_inverse=True)
    pairs = torch.full_like(function.pairs, RadialFunction.NONE)
    asked = function.pairs != RadialFunction.NONE
    pairs[asked] = torch.from_numpy(which.reshape(-1))[torch.searchsorted(met, function.pairs[asked])]
    return [int(met[place]) for place in first], pairs


def _evaluated(function: RadialFunction, distances: Tensor, number: int | None) -> Tensor:
    """Values (D, C) at distances (D,), for one pair of kinds."""
    numbers = None if number is None else torch.full(distances.shape, number, dtype=torch.int64)
    return function(distances, numbers)


def _require_room(function: RadialFunction, pairs: int, intervals: int) -> None:
    """Refuse tables that would not fit, before they are made."""
    needed = pairs * intervals * 4 * function.channels * BYTES
    if needed > LARGEST:
        raise KernelError(
            f"tables of {intervals} intervals for {pairs} different pairs of species and {function.channels} "
            f"channels would take {format_size(needed)}, more than the {format_size(LARGEST)} allowed"
        )


def _splines(
    function: RadialFunction, numbers: list[int | None], intervals: int
) -> tuple[list[CubicSpline], Accuracy]:
    """The splines of all pairs, and the worst of their accuracies; the first that will not do is the last."""
    splines, accuracy = [], Accuracy(0.0, 0.0)
    for number in numbers:
        splines.append(_spline(function, number, intervals))
        accuracy = accuracy.or_worse(measure(function, splines[-1], intervals, number, _WORST))
        if accuracy.hopeless:
            break
        accuracy = accuracy.or_worse(measure(function, splines[-1], intervals, number))
        if not accuracy.enough:
            break
    return splines, accuracy


def _spline(function: RadialFunction, number: int | None, intervals: int) -> CubicSpline:
    """The spline through the values, with the function's own slopes at both ends."""
    from scipy.interpolate import CubicSpline  # which whoever does not compress would wait for

    knots = np.linspace(function.start, function.end, intervals + 1)
    values = np.concatenate([_values(function, batch, number) for batch in _batches(knots)])
    # Just before the end: beyond it, the function is constant.
    ends = np.array([function.start, np.nextafter(function.end, 0.0)])
    _, slopes = values_and_slopes(function, torch.from_numpy(ends), number)
    return CubicSpline(knots, values, bc_type=((1, slopes[0].numpy()), (1, slopes[1].numpy())))


def _batches(points: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    yield from np.array_split(points, -(-len(points) // _BATCH))


def _values(function: RadialFunction, points: NDArray[np.float64], number: int | None) -> NDArray[np.float64]:
    with torch.no_grad():
        return _evaluated(function, torch.from_numpy(points), number).numpy()


def _table(
    function: RadialFunction,
    numbers: list[int | None],
    splines: list[CubicSpline],
    pairs: Tensor | None,
    accuracy: Accuracy,
) -> TabulatedFunction:
    """The coefficients of splines, by the place in an interval instead of the distance."""
    length = (function.end - function.start) / splines[0].c.shape[1]
    powers = length ** np.arange(4)
    coefficients = [(spline.c[::-1] * powers[:, None, None]).transpose(1, 0, 2) for spline in splines]
    last = [_values(function, np.array([function.end]), number)[0] for number in numbers]
    return TabulatedFunction(
        torch.from_numpy(np.stack(coefficients)),
        torch.from_numpy(np.stack(last)),
        function.start,
        function.end,
        pairs,
        accuracy,
    )
