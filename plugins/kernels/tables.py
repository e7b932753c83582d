"""Radial functions from tables: what ``--compress`` does."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Final, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from halocline.aggregation import Form, RadialFunction, TabulatedFunction
from halocline.errors import KernelError
from halocline.graph.graph import COINCIDENT
from halocline.model.stage import Stage
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel

_logger = logging.getLogger(__name__)

#: Largest errors of tabulated values, and of their slopes, relative to the largest there is: those of a network in
#: float32, whose forces are right to about 3e-6.
VALUE: Final = 1e-7
SLOPE: Final = 1e-6

#: Intervals of a table: the first power of two that is accurate enough. The largest table for 128 channels in
#: float32 takes 16 MiB.
FEWEST, MOST = 64, 8192

#: Distances in each interval at which a table is held against the function.
CHECKED: Final = 8

#: Distances that are evaluated together.
_BATCH: Final = 4096


@final
class Tables(Kernel):
    """Cubic splines take the place of all radial functions of a stage."""

    version = 1
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
                stage.set_submodule(path, tabulate(module))
        return stage


class Accuracy(NamedTuple):
    """How far a table is from its function.

    Attributes:
        value: largest error of a value, relative to the largest value.
        slope: largest error of a derivative by the distance, relative to the largest.
    """

    value: float
    slope: float


def tabulate(function: RadialFunction) -> TabulatedFunction:
    """The smallest table that is accurate enough over the whole range.

    Splines have continuous second derivatives. They are made and held against the function in float64, at
    distances from the shortest that atoms may have to the end.

    Args:
        function: in float64.

    Raises:
        KernelError: its range has no end or begins too late, or no table of at most `MOST` intervals will do.
    """
    if not math.isfinite(function.end):
        raise KernelError("its radial functions have no end, as those of models with the nearest neighbours")
    if function.start > COINCIDENT:
        raise KernelError(f"its radial functions begin at {function.start:g} Å, and atoms can be nearer")
    intervals, accuracy = FEWEST, Accuracy(math.inf, math.inf)
    while intervals <= MOST:
        spline = _spline(function, intervals)
        accuracy = measure(function, spline, intervals)
        if accuracy.value <= VALUE and accuracy.slope <= SLOPE:
            _logger.info("%d intervals: values to %.0e, slopes to %.0e.", intervals, *accuracy)
            return _table(function, spline)
        intervals *= 2
    raise KernelError(
        f"a table of {MOST} intervals misses its radial functions by {accuracy.value:.0e} of the largest value "
        f"and {accuracy.slope:.0e} of the largest slope, where {VALUE:.0e} and {SLOPE:.0e} are allowed"
    )


def measure(function: RadialFunction, spline: CubicSpline, intervals: int) -> Accuracy:
    """Compare values and slopes at many distances in each interval, its ends among them."""
    points = np.linspace(function.start, function.end, CHECKED * intervals + 1)[:-1]
    worst, largest = np.zeros(2), np.zeros(2)
    for batch in _batches(points):
        found = (spline(batch), spline(batch, 1))
        expected = values_and_slopes(function, torch.from_numpy(batch))
        for which, (ours, exact) in enumerate(zip(found, expected, strict=True)):
            worst[which] = max(worst[which], np.abs(ours - exact.numpy()).max())
            largest[which] = max(largest[which], float(exact.abs().max()))
    return Accuracy(*(float(error) for error in worst / np.maximum(largest, np.finfo(np.float64).tiny)))


def values_and_slopes(function: RadialFunction, distances: Tensor) -> tuple[Tensor, Tensor]:
    """Values and derivatives by the distance, both (D, C), at distances (D,) in Å."""
    with torch.enable_grad():
        distances = distances.detach().requires_grad_(True)
        values = function(distances)
        # The derivative is linear in the cotangent: its own derivative by that is the slope of every channel.
        cotangents = torch.zeros_like(values, requires_grad=True)
        (pulls,) = torch.autograd.grad(values, distances, cotangents, create_graph=True)
        (slopes,) = torch.autograd.grad(pulls, cotangents, torch.ones_like(pulls))
    return values.detach(), slopes


def _spline(function: RadialFunction, intervals: int) -> CubicSpline:
    """The spline through the values, with the function's own slopes at both ends."""
    knots = np.linspace(function.start, function.end, intervals + 1)
    values = np.concatenate([_values(function, batch) for batch in _batches(knots)])
    # Just before the end: beyond it, the function is constant.
    ends = np.array([function.start, np.nextafter(function.end, 0.0)])
    _, slopes = values_and_slopes(function, torch.from_numpy(ends))
    return CubicSpline(knots, values, bc_type=((1, slopes[0].numpy()), (1, slopes[1].numpy())))


def _batches(points: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    yield from np.array_split(points, -(-len(points) // _BATCH))


def _values(function: RadialFunction, points: NDArray[np.float64]) -> NDArray[np.float64]:
    with torch.no_grad():
        return function(torch.from_numpy(points)).numpy()


def _table(function: RadialFunction, spline: CubicSpline) -> TabulatedFunction:
    """The coefficients of a spline, by the place in an interval instead of the distance."""
    length = (function.end - function.start) / spline.c.shape[1]
    powers = length ** np.arange(4)
    coefficients = (spline.c[::-1] * powers[:, None, None]).transpose(1, 0, 2)
    last = _values(function, np.array([function.end]))[0]
    return TabulatedFunction(
        torch.from_numpy(np.ascontiguousarray(coefficients)), torch.from_numpy(last), function.start, function.end
    )
