"""Distributions of the structures of an audit, and of trajectories beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halocline.audit.distributions.compared import Compared, compare
from halocline.audit.distributions.statistics import DISTANCE, StructureStatistics
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
    compared = sorted(compare(whole, halves, moving), key=_order)
    _write(compared, folder)
    return {
        "reach": reach,
        "skipped": skipped,
        "reference": _summary(whole),
        "trajectory": _summary(moving) if trajectories.names else None,
        "distributions": [each.record() for each in compared],
    }


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


def _order(compared: Compared) -> int:
    return [kind for kinds in FIGURES.values() for kind in kinds].index(compared.present.axis.kind)


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
