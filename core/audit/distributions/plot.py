"""Figures of distributions, those of a trajectory over those of reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure

from halocline.errors import OutputError
from halocline.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from halocline.audit.distributions.compared import Compared

_BLUE, _GREY = "#0072b2", "#999999"
_PANEL: Final = 3.3, 2.7  # inches
_COLUMNS: Final = 3
#: Panels of a figure, those with the most values; tables have all.
_MOST: Final = 12


def plot_distributions(compared: Sequence[Compared], picture: Path) -> None:
    """Draw a panel for each distribution, as a PNG.

    Args:
        compared: at least one.
        picture: the file to write.

    Raises:
        OutputError: it cannot be written.
    """
    fullest = sorted(compared, key=lambda each: -each.present.total)[:_MOST]
    chosen = [each for each in compared if each in fullest]
    columns = min(_COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
    for place, each in enumerate(chosen):
        _draw(figure.add_subplot(rows, columns, place + 1), each, legend=place == 0)
    save_figure(figure, picture, OutputError)


def _draw(axes: Axes, compared: Compared, *, legend: bool) -> None:
    axis = compared.present.axis
    ends = []
    reference, trajectory = compared.curve(0), compared.curve(1)
    if reference is not None:
        axes.fill_between(*reference, color=_GREY, alpha=0.5, linewidth=0.0, label="reference")
        ends.append(reference)
    if trajectory is not None:
        axes.plot(*trajectory, color=_BLUE, linewidth=1.2, label="trajectory")
        ends.append(trajectory)
    there = np.concatenate([x[y > 0.0] for x, y in ends])
    margin = 0.03 * float(np.ptp(there)) or axis.width * axis.shown
    axes.set_xlim(float(there.min()) - margin, float(there.max()) + margin)
    axes.set_ylim(bottom=0.0)
    axes.set_title(f"{axis.kind} {axis.name}", fontsize="medium")
    axes.set_xlabel(axis.unit)
    if compared.radial is not None:
        axes.set_title(f"g(r) {axis.name}", fontsize="medium")
        axes.axhline(1.0, color="#555555", linewidth=0.6, linestyle=":")
    else:
        axes.set_yticks([])
    if legend:
        axes.legend(frameon=False, fontsize="small")
