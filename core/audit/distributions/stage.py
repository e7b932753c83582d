"""Distributions of the structures of an audit, and of trajectories beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.audit.distributions.distances import distances_between
from halocline.audit.distributions.histogram import Histogram
from halocline.audit.distributions.statistics import DISTANCE, StructureStatistics, shells
from halocline.errors import OutputError, StructureError
from halocline.evaluation.forms import csv_line
from halocline.files import write_atomically

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.audit.source import Source

#: What is written, in the folder of an audit.
CURVES: Final = "distributions.csv"
DISTANCES: Final = "distances.csv"
#: Figures by the kinds of distributions that are on them.
FIGURES: Final = {
    "radial.png": (DISTANCE,),
    "bonds.png": ("bond length", "bond angle"),
    "hydrogen_bonds.png": (
        "hydrogen bond length",
        "donor to acceptor",
        "hydrogen bond angle",
        "angle at the acceptor",
    ),
}


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
        groups = axis.bins // axis.shown
        x = axis.centres[: groups * axis.shown].reshape(groups, axis.shown).mean(axis=1)
        if self.radial is not None and (g := self.radial[which]) is not None:
            weights = shells(axis)[: groups * axis.shown].reshape(groups, axis.shown)
            y = (g[: groups * axis.shown].reshape(groups, axis.shown) * weights).sum(axis=1) / weights.sum(axis=1)
        else:
            counts = histogram.counts[: groups * axis.shown].reshape(groups, axis.shown).sum(axis=1)
            y = counts / (histogram.total * axis.width * axis.shown)
        return x, np.asarray(y)

    def _distances(self, one: Histogram | None, other: Histogram | None) -> dict[str, float] | None:
        if one is None or other is None:
            return None
        # With densities, shells are compared by them: the number of pairs grows with the area of a sphere.
        measure = None if self.radial is None else shells(one.axis)
        return asdict(distances_between(one.counts, other.counts, one.axis.centres, measure))


def audit_distributions(
    reference: Source,
    trajectories: Source,
    reach: float,
    folder: Path,
    *,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Count what structures look like, compare, and write tables and figures.

    Args:
        reference: of the structures of reference.
        trajectories: of those that are compared with them; without files if there are no such.
        reach: Å, to which distances are counted.
        folder: to write into.
        advance: called after each frame.

    Raises:
        OutputError: a file cannot be written.
    """
    halves = StructureStatistics(reach), StructureStatistics(reach)
    skipped = 0
    for number, atoms in enumerate(_structures(reference)):
        skipped += not _added(halves[number % 2], atoms)
        advance()
    moving = StructureStatistics(reach)
    for atoms in _structures(trajectories):
        skipped += not _added(moving, atoms)
        advance()
    whole = StructureStatistics.merged(halves)
    compared = compare(whole, halves, moving)
    _write(compared, folder)
    return {
        "reach": reach,
        "skipped": skipped,
        "reference": _summary(whole),
        "trajectory": _summary(moving) if trajectories.files else None,
        "distributions": [each.record() for each in compared],
    }


def compare(
    reference: StructureStatistics, halves: Sequence[StructureStatistics], trajectory: StructureStatistics
) -> list[Compared]:
    """Set distributions side by side, in the order in which they were found."""
    keys = dict.fromkeys([*reference.histograms, *trajectory.histograms])
    dense = reference.is_periodic and trajectory.is_periodic
    found = []
    for kind, name in sorted(keys, key=lambda key: _order(key[0])):
        of_kind = [each.histograms.get((kind, name)) for each in (reference, *halves, trajectory)]
        radial = None
        if kind == DISTANCE and dense:
            one, other = (
                each.radial(name) if (kind, name) in each.histograms else None for each in (reference, trajectory)
            )
            radial = one, other
        found.append(Compared(of_kind[0], (of_kind[1], of_kind[2]), of_kind[3], radial))
    return found


def _structures(source: Source) -> Iterator[Atoms | StructureError]:
    return (frame.content for frame in source.frames())


def _added(statistics: StructureStatistics, content: Atoms | StructureError) -> bool:
    """Take in a structure, if it is one; why it is none was said when it was to be evaluated."""
    if isinstance(content, StructureError):
        return False
    try:
        statistics.add(content)
    except StructureError:
        return False
    return True


def _order(kind: str) -> int:
    return [each for kinds in FIGURES.values() for each in kinds].index(kind)


def _moments(histogram: Histogram | None) -> dict[str, float] | None:
    if histogram is None:
        return None
    return {"count": histogram.total, "mean": histogram.mean, "std": histogram.std}


def _summary(statistics: StructureStatistics) -> dict[str, Any]:
    return {
        "frames": statistics.frames,
        "molecules": dict(sorted(statistics.formulas.items())),
        "frames_without_molecules": statistics.unlike_molecules,
        "hydrogen_bonds_per_molecule": statistics.bonds_per_molecule,
    }


def _write(compared: Sequence[Compared], folder: Path) -> None:
    from halocline.audit.distributions.plot import plot_distributions

    names = ("kullback_leibler", "jensen_shannon", "kolmogorov_smirnov", "wasserstein")
    heads = [*names, *(f"{name}_within_reference" for name in names)]
    rows = [csv_line(["kind", "name", "unit", "reference_count", "trajectory_count", *heads])]
    lines = [csv_line(["kind", "name", "unit", "x", "reference", "trajectory"])]
    for each in compared:
        record = each.record()
        place = [record[name] for name in ("kind", "name", "unit")]
        totals = [(record[name] or {}).get("count", 0) for name in ("reference", "trajectory")]
        pairs = ((record["distances"] or {}), (record["within_reference"] or {}))
        rows.append(csv_line([*place, *totals, *(pair.get(name, "") for pair in pairs for name in names)]))
        lines += [csv_line([*place, *cells]) for cells in _cells(each)]
    try:
        write_atomically(folder / DISTANCES, b"".join(rows))
        write_atomically(folder / CURVES, b"".join(lines))
    except OSError as error:
        raise OutputError(f"Cannot write into {folder}: {error.strerror or error}.") from error
    for picture, kinds in FIGURES.items():
        chosen = [each for each in compared if each.present.axis.kind in kinds]
        if chosen:
            plot_distributions(chosen, folder / picture)


def _cells(compared: Compared) -> Iterator[list[Any]]:
    """Rows of the table of curves where either has something."""
    curves = [compared.curve(which) for which in (0, 1)]
    x = next(curve for curve in curves if curve is not None)[0]
    values = [np.zeros_like(x) if curve is None else curve[1] for curve in curves]
    for place in np.flatnonzero(values[0] + values[1]):
        told = ["" if curve is None else float(each[place]) for curve, each in zip(curves, values, strict=True)]
        yield [round(float(x[place]), 6), *told]
