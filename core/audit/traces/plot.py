"""Energies of trajectories, as two models see them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure

from halocline.errors import OutputError
from halocline.figures import save_figure

if TYPE_CHECKING:
    from halocline.audit.traces.stage import Trace

_BLUE, _ORANGE = "#0072b2", "#d55e00"  # told apart by everyone (Okabe and Ito)
_WIDTH, _HEIGHT = 8.0, 2.2  # inches, of a panel
#: Panels of a figure; the table has all trajectories.
_MOST: Final = 8
_PICOSECOND: Final = 1000.0  # fs
#: Energies up to this, meV/atom, are drawn in proportion, and larger ones by their logarithm: where a model sends
#: atoms to where another one sees a wall, energies differ by orders of magnitude.
_LINEAR: Final = 100.0


def plot_traces(traces: Sequence[Trace], names: tuple[str, str], picture: Path) -> None:
    """Draw a panel for each trajectory, as a PNG; energies are counted from their means.

    Args:
        traces: at least one.
        names: of the two models.
        picture: the file to write.

    Raises:
        OutputError: it cannot be written.
    """
    shown = traces[:_MOST]
    figure = Figure(figsize=(_WIDTH, _HEIGHT * len(shown) + 0.4), layout="constrained")
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, trace in zip(panels, shown, strict=True):
        times = np.array(trace.times) / (_PICOSECOND if trace.has_times else 1.0)
        for energies, name, colour in zip(trace.relative(), names, (_BLUE, _ORANGE), strict=True):
            axes.plot(times, energies, color=colour, linewidth=0.9, label=name)
        if max(map(abs, axes.get_ylim())) > _LINEAR:
            axes.set_yscale("symlog", linthresh=_LINEAR)
        axes.set_title(trace.name, fontsize="small")
        axes.set_ylabel("energy less\nmean (meV/atom)")
        axes.set_xlabel("time (ps)" if trace.has_times else "frame")
    panels[0].legend(frameon=False, fontsize="small")
    save_figure(figure, picture, OutputError)
