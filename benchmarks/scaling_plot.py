"""Times of steps over devices, and what was published against what is predicted."""

from __future__ import annotations

from pathlib import Path

import scaling_published as published
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scaling_predicted import Prediction

STYLES = {"recompute": "o-", "exchange": "s-"}


def draw(tables: dict[str, list[Prediction]], path: Path) -> None:
    """Write a PNG of three panels: strong scaling, weak scaling, other engines."""
    figure = Figure(figsize=(11.0, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    for axes, title in ((left, "strong"), (middle, "weak")):
        _times(axes, tables, title)
    left.set_title("strong scaling, 1,000,000 atoms")
    middle.set_title("weak scaling, 10,000 atoms a device")
    left.legend(fontsize=7)
    _others(right)
    figure.savefig(path, dpi=70)


def _times(axes, tables: dict[str, list[Prediction]], title: str) -> None:  # noqa: ANN001
    """Full lines with the driver's work, pale ones without."""
    for name, alpha in ((title, 1.0), (f"{title}, ranks alone", 0.35)):
        rows = tables[name]
        for halo, colour in (("recompute", "tab:blue"), ("exchange", "tab:orange")):
            values = [1e3 * getattr(row, halo).total for row in rows]
            label = f"{halo}{', without list and sums' if alpha < 1 else ''}"
            axes.plot([row.devices for row in rows], values, STYLES[halo], color=colour, alpha=alpha, label=label)
    axes.set(xscale="log", yscale="log", xlabel="devices", ylabel="predicted ms a step")


def _others(axes) -> None:  # noqa: ANN001
    """On the diagonal, a prediction is what was published."""
    for table in (published.FAIRCHEM, published.SYMMETRIX):
        speeds = published.fit(table)
        for rows, filled in ((table.fitted, "none"), (table.checked, None)):
            there = [published.MILLISECONDS / row.ns_per_day for row in rows]
            here = [published.predicted(table, row, speeds) for row in rows]
            marker = "^" if table is published.FAIRCHEM else "v"
            colour = "tab:green" if table is published.FAIRCHEM else "tab:red"
            label = f"{table.name.split(',')[0]}, {'fitted' if filled else 'checked'}"
            axes.plot(there, here, marker, color=colour, fillstyle=filled or "full", label=label)
    axes.plot([3, 250], [3, 250], color="grey", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="published ms a step", ylabel="predicted ms a step")
    axes.set_title("other engines")
    axes.legend(fontsize=7)
