"""The file of `peers.growth`: points, the exponents that they follow, and a figure of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from halocline.files import write_atomically

Row = dict[str, Any]

#: What names a point.
KEY: Final = ("model", "axis", "value")


@final
class GrowthFile:
    """Points that are measured, written anew after each.

    Args:
        path: of the file. What it holds of other sources or another machine is left aside, and replaced.
        measured: machine, versions, sources, and the way in which models ran.

    Attributes:
        rows: points.
    """

    def __init__(self, path: Path, measured: Mapping[str, Any]) -> None:
        self._path, self._measured, self.rows = path, dict(measured), list[Row]()
        if path.exists():
            old = json.loads(path.read_text())
            if old["measured"] == self._measured:
                self.rows = [row for row in old["points"] if "failure" not in row]

    def has(self, point: Sequence[Any]) -> bool:
        """Whether a point has been measured."""
        return any(tuple(row[name] for name in KEY) == tuple(point) for row in self.rows)

    def add(self, row: Row) -> None:
        """Enter a point, and write the file."""
        self.rows.append(row)
        document = {"measured": self._measured, "exponents": exponents(self.rows), "points": self.rows}
        write_atomically(self._path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())

    def text(self) -> str:
        """Exponents in a Markdown table, what failed, and what was evaluated in parts."""
        found = exponents(self.rows)
        axes = list(dict.fromkeys(axis for each in found.values() for axis in each))
        lines = [f"| model | {' | '.join(axes)} |", f"|{'---|' * (1 + len(axes))}"]
        for model, by_axis in found.items():
            cells = (f"{by_axis[axis]:.2f}" if axis in by_axis else "-" for axis in axes)
            lines.append(f"| {model} | {' | '.join(cells)} |")
        for row in self.rows:
            where = " ".join(str(row[name]) for name in KEY)
            if reason := row.get("failure"):
                lines.append(f"FAILED {where}: {reason}")
            elif memory := row.get("within"):
                lines.append(f"{where}: in parts, within {memory}.")
        return "\n".join(lines)


def cost(row: Row) -> float:
    """Of a step, in µs: of the processor; on the clock where ranks share the work."""
    clock = "wall" if row["axis"] == "ranks" else "cpu"
    return float(row[clock]["us_per_atom"]) * int(row["atoms"])


def place(row: Row) -> float:
    """Where a point is on its axis: what was there, not what was asked for."""
    return float(row[row["axis"]] if row["axis"] in row else row["value"])


def curves(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[float], list[float]]]:
    """Model, axis, places and costs of all that has two points or more."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if "cpu" in row:
            found.setdefault((row["model"], row["axis"]), []).append((place(row), cost(row)))
    for (model, axis), pairs in found.items():
        if len(pairs) > 1:
            yield model, axis, *map(list, zip(*sorted(pairs), strict=True))


def exponents(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Model → axis → p of cost ∝ place^p, fitted to the upper half of the points; constants rule the lower.

    What was evaluated in parts does not count: halos cost more than in proportion.
    """
    found: dict[str, dict[str, float]] = {}
    for model, axis, places, costs in curves([row for row in rows if "within" not in row]):
        upper = (len(places) - 1) // 2
        slope = np.polyfit(np.log(places[upper:]), np.log(costs[upper:]), 1)[0]
        found.setdefault(model, {})[axis] = round(float(slope), 3)
    return found


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG: for each axis costs over that of its first point, and in grey what is in proportion."""
    lines = list(curves(rows))
    axes_of = list(dict.fromkeys(axis for _, axis, _, _ in lines))
    figure = Figure(figsize=(3.0 * max(len(axes_of), 1), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for number, axis in enumerate(axes_of, 1):
        panel = figure.add_subplot(1, len(axes_of), number)
        for model, _, places, costs in (line for line in lines if line[1] == axis):
            panel.plot(places, [each / costs[0] for each in costs], "o-", label=model)
            proportion = [each / places[0] if axis != "ranks" else places[0] / each for each in places]
            panel.plot(places, proportion, color="grey", linewidth=0.8, zorder=0)
        panel.set(xscale="log", yscale="log", xlabel=axis)
        panel.set_xticks(places, [f"{each:,.0f}" for each in places], minor=False, fontsize=7)
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_formatter(ScalarFormatter())
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.legend(fontsize=7)
    if axes_of:
        figure.axes[0].set_ylabel("time of a step, over that of the first point")
    figure.savefig(path, dpi=80)
