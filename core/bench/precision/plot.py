"""Time against accuracy, made without touching matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from halocline.figures import save_figure

_BLUE, _GREY = "#0072b2", "#555555"
_SIZE: Final = (7.0, 4.8)  # inches


def plot_trade(measured: Sequence[tuple[str, dict[str, Any]]], picture: Path, *, title: str = "") -> None:
    """Draw the error of forces of each policy over its time, with a line through those that none beats in both.

    Args:
        measured: names and the fields of their `PolicyMeasurement`.
        picture: the file to write, a PNG.
        title: above the figure.

    Raises:
        HaloclineError: the picture cannot be written.
    """
    points = [(each["ratio"], each["deviation"]["force_rms"], name) for name, each in measured]
    wrong = [error for _, error, _ in points if error]
    # What has no error has no place on a logarithmic axis; it stands below all others.
    floor = 0.1 * min(wrong, default=1e-9)
    shown = [(ratio, error or floor, name) for ratio, error, name in points]
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    front = pareto_front([(ratio, error) for ratio, error, _ in shown])
    axes.step(*zip(*front, strict=True), where="post", color=_GREY, linewidth=0.8, zorder=1)
    slowest = max((ratio for ratio, _, _ in shown), default=1.0)
    # Names of neighbours stand above and below, in turns, so that they are not written over each other.
    for place, (ratio, error, name) in enumerate(sorted(shown, key=lambda each: (round(log10(each[1])), each[0]))):
        axes.plot([ratio], [error], "o", color=_BLUE, markersize=5.0)
        side, offset = ("right", -6) if ratio > 0.85 * slowest else ("left", 6)
        axes.annotate(
            name + (" (no error)" if error == floor else ""),
            (ratio, error),
            xytext=(offset, (5, -12)[place % 2]),
            textcoords="offset points",
            horizontalalignment=side,
            fontsize="small",
        )
    axes.set(yscale="log", xlabel="CPU time by that of float32", ylabel="rms error of forces (eV/Å)")
    axes.margins(x=0.2, y=0.1)
    figure.suptitle(title, fontsize="medium")
    save_figure(figure, picture)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (cost, error) that no other beats or equals in both, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, error in sorted(points):
        if not front or error < front[-1][1]:
            front.append((cost, error))
    return front
