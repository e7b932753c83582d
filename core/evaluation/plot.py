"""Parity plots, made without touching matplotlib's global state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from halocline.evaluation.accuracy import POINTS, UNITS
from halocline.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from halocline.evaluation.accuracy import Accuracy

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
        _draw(figure.add_subplot(1, len(names), place + 1), accuracy, name)
    figure.suptitle(title)
    save_figure(figure, picture)


def _draw(axes: Axes, accuracy: Accuracy, name: str) -> None:
    labels, model = accuracy.points[name].pairs
    deviations = accuracy.quantities[name]
    least, most = min(labels.min(), model.min()), max(labels.max(), model.max())
    margin = 0.05 * (most - least) or 1.0
    ends = least - margin, most + margin
    axes.plot(ends, ends, color=_GREY, linewidth=0.8, zorder=1)
    axes.plot(labels, model, ".", color=_BLUE, markersize=3.0, alpha=0.4, markeredgewidth=0.0, rasterized=True)
    axes.set(xlim=ends, ylim=ends, aspect="equal", title=_AXES[name], xlabel="label", ylabel="model")
    shown = f"{POINTS} of {deviations.count}" if deviations.count > POINTS else str(deviations.count)
    axes.xaxis.set_major_locator(MaxNLocator(4))  # energies have long numbers
    text = f"MAE {deviations.mae:.4g} {UNITS[name]}\nRMSE {deviations.rmse:.4g} {UNITS[name]}\n{shown} points"
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize="small")
