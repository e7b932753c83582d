"""Counts in narrow bins: what a distribution is known by, without any of its values being kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class Axis:
    """What a distribution is of, and its bins.

    Attributes:
        name: such as ``O–H``.
        kind: what values of that are, such as ``bond length``.
        unit: of the values.
        low: where bins begin, in that unit.
        width: of a bin.
        bins: how many.
        shown: so many of them are one in figures and tables of curves.
    """

    name: str
    kind: str
    unit: str
    low: float
    width: float
    bins: int
    shown: int

    @property
    def centres(self) -> NDArray[np.float64]:
        """(bins,) the middles of the bins."""
        return np.asarray(self.low + self.width * (np.arange(self.bins) + 0.5))

    @property
    def edges(self) -> NDArray[np.float64]:
        """(bins + 1,) where bins begin and end."""
        return np.asarray(self.low + self.width * np.arange(self.bins + 1))

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@final
class Histogram:
    """Counts of values along an axis.

    Args:
        axis: the bins.

    Attributes:
        axis: the bins.
        counts: (bins,) int64.
    """

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        self.counts = np.zeros(axis.bins, np.int64)

    @property
    def total(self) -> int:
        """How many values there were."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Of the values, to half a bin."""
        return float(self.axis.centres @ self.counts) / self.total

    @property
    def std(self) -> float:
        """Standard deviation of the values."""
        return float(np.sqrt(np.square(self.axis.centres - self.mean) @ self.counts / self.total))

    def add(self, values: NDArray[np.float64]) -> None:
        """Count values. What lies beyond the axis, as an angle of 180° may by rounding, is in the nearest bin."""
        places = ((values - self.axis.low) / self.axis.width).astype(np.int64)
        np.clip(places, 0, self.axis.bins - 1, out=places)
        self.counts += np.bincount(places, minlength=self.axis.bins)
