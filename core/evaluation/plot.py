"""Parity plots, made without touching matplotlib's global state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from halocline.evaluation.accuracy import POINTS, UNITS
from halocline.figures import save_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from halocline.evaluation.accuracy import Accuracy
    from halocline.training.errors import Deviations

_AXES: Final = {
    "energy per atom": "energy (eV/atom)",
    "forces": "force components (eV/Å)",
    "stress": "stress components (eV/Å³)",
}
_BLUE, _GREY = "#0072b2", "#555555"
_PANEL: Final = 4.2  # inches


def plot_parity(accuracy: Accuracy, picture: Path, *, title: str = "") -> None:
    """Draw what the model gives against the labels, a panel for each quantity that has some, as a PNG.

    Args:
        accuracy: of a model.
        picture: the file to write.
        title: above the figure.

    Raises:
        HaloclineError: the picture cannot be written.
    """
    names = [name for name in _AXES if accuracy.quantities[name].count]
    figure = Figure(figsize=(_PANEL * max(1, len(names)), _PANEL + 0.6), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        draw_parity(axes, accuracy.points[name].pairs, accuracy.quantities[name], _AXES[name], UNITS[name])
    figure.suptitle(title)
    save_figure(figure, picture)


def draw_parity(axes: Axes, pairs: NDArray[np.float64], deviations: Deviations, title: str, unit: str) -> None:
    """Draw numbers of a model against their labels.

    Args:
        axes: to draw on.
        pairs: (2, P) labels and the model's, of which there is at least one.
        deviations: of all numbers, of which pairs may be some.
        title: what the numbers are, with their unit.
        unit: of the deviations.
    """
    labels, model = pairs
    least, most = min(labels.min(), model.min()), max(labels.max(), model.max())
    margin = 0.05 * (most - least) or 1.0
    ends = least - margin, most + margin
    axes.plot(ends, ends, color=_GREY, linewidth=0.8, zorder=1)
    axes.plot(labels, model, ".", color=_BLUE, markersize=3.0, alpha=0.4, markeredgewidth=0.0, rasterized=True)
    axes.set(xlim=ends, ylim=ends, aspect="equal", title=title, xlabel="label", ylabel="model")
    shown = f"{POINTS} of {deviations.count}" if deviations.count > POINTS else str(deviations.count)
    axes.xaxis.set_major_locator(MaxNLocator(4))  # energies have long numbers
    text = f"MAE {deviations.mae:.4g} {unit}\nRMSE {deviations.rmse:.4g} {unit}\n{shown} points"
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize="small")
