"""Learning curves, made without touching matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from halocline.errors import TrainingError
from halocline.figures import save_figure

if TYPE_CHECKING:
    from halocline.training.run import EpochRecord

#: What has a panel if it was measured: fields of `EpochRecord`.
_PANELS: Final = {
    "loss": "training loss",
    "energy_mae": "validation: energy MAE (meV/atom)",
    "forces_mae": "validation: force MAE (meV/Å)",
    "stress_mae": "validation: stress MAE (meV/Å³)",
}
_BLUE: Final = "#0072b2"
_WIDTH, _HEIGHT = 4.2, 3.6  # of a panel, inches


def plot_learning_curves(history: Sequence[EpochRecord], picture: Path, *, title: str = "") -> None:
    """Draw loss and validation errors against epochs, on logarithmic axes, as a PNG.

    Args:
        history: of a run, at least one epoch.
        picture: the file to write.
        title: above the figure.

    Raises:
        TrainingError: the picture cannot be written.
    """
    curves = {
        label: [(record.epoch, value) for record in history if (value := getattr(record, name, None)) is not None]
        for name, label in _PANELS.items()
    }
    shown = {label: points for label, points in curves.items() if points}
    figure = Figure(figsize=(_WIDTH * len(shown), _HEIGHT), layout="constrained")
    for place, (label, points) in enumerate(shown.items()):
        axes = figure.add_subplot(1, len(shown), place + 1)
        axes.plot(*zip(*points, strict=True), color=_BLUE, marker="." if len(points) < 50 else "")
        if min(value for _, value in points) > 0.0:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2.0, 0.5)))
        axes.set(xlabel="epoch", title=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, which="both", linewidth=0.3)
    figure.suptitle(title)
    save_figure(figure, picture, TrainingError)
