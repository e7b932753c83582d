"""A distribution of a trajectory beside that of reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from halocline.audit.distributions.distances import distances_between
from halocline.audit.distributions.histogram import Axis, Histogram
from halocline.audit.distributions.statistics import DISTANCE, StructureStatistics, shells


@final
@dataclass(frozen=True, slots=True)
class Compared:
    """A distribution of a trajectory beside that of reference.

    Attributes:
        reference: counts.
        halves: of every second frame of reference, and of the others.
        trajectory: counts; None if there is no trajectory, or nothing of the kind in it.
        radial: g(r) of reference and of the trajectory, for distances where all structures have a density.
    """

    reference: Histogram | None
    halves: tuple[Histogram | None, Histogram | None]
    trajectory: Histogram | None
    radial: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] | None

    @property
    def present(self) -> Histogram:
        """One of the histograms, for their axis."""
        found = self.reference or self.trajectory
        assert found is not None
        return found

    def record(self) -> dict[str, Any]:
        """All that is told of it."""
        axis = self.present.axis
        return {
            "kind": axis.kind,
            "name": axis.name,
            "unit": axis.unit,
            "reference": _moments(self.reference),
            "trajectory": _moments(self.trajectory),
            "distances": self._distances(self.trajectory, self.reference),
            "within_reference": self._distances(*self.halves),
        }

    def curve(self, which: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Middles of shown bins, and g(r) or the density in them: 0 of reference, 1 of the trajectory."""
        histogram = (self.reference, self.trajectory)[which]
        if histogram is None:
            return None
        axis = histogram.axis
        if self.radial is not None and (g := self.radial[which]) is not None:
            volumes = shells(axis)
            y = _grouped(axis, g * volumes).sum(axis=1) / _grouped(axis, volumes).sum(axis=1)
        else:
            y = _grouped(axis, histogram.counts).mean(axis=1) / (histogram.total * axis.width)
        return _grouped(axis, axis.centres).mean(axis=1), y

    def _distances(self, one: Histogram | None, other: Histogram | None) -> dict[str, float] | None:
        if one is None or other is None:
            return None
        # With densities, shells are compared by them: the number of pairs grows with the area of a sphere.
        measure = None if self.radial is None else shells(one.axis)
        return asdict(distances_between(one.counts, other.counts, one.axis.centres, measure))


def compare(
    reference: StructureStatistics, halves: Sequence[StructureStatistics], trajectory: StructureStatistics
) -> list[Compared]:
    """Set distributions side by side, in the order in which they were found.

    Args:
        reference: of the structures of reference.
        halves: of every second one of them, and of the others.
        trajectory: of the structures that are compared with them.
    """
    keys = dict.fromkeys([*reference.histograms, *trajectory.histograms])
    dense = reference.is_periodic and trajectory.is_periodic
    found = []
    for kind, name in keys:
        of_kind = [each.histograms.get((kind, name)) for each in (reference, *halves, trajectory)]
        radial = None
        if kind == DISTANCE and dense:
            one, other = (
                each.radial(name) if (kind, name) in each.histograms else None for each in (reference, trajectory)
            )
            radial = one, other
        found.append(Compared(of_kind[0], (of_kind[1], of_kind[2]), of_kind[3], radial))
    return found


def _grouped(axis: Axis, values: NDArray[Any]) -> NDArray[np.float64]:
    """(bins shown, bins in each) the values of bins; at the end, those that fill none are left out."""
    groups = axis.bins // axis.shown
    return np.asarray(values[: groups * axis.shown].reshape(groups, axis.shown), np.float64)


def _moments(histogram: Histogram | None) -> dict[str, float] | None:
    if histogram is None:
        return None
    return {"count": histogram.total, "mean": histogram.mean, "std": histogram.std}
