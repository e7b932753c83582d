"""Learning curves, made without touching matplotlib's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, StrMethodFormatter

from halocline.errors import TrainingError
from halocline.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from halocline.training.run import EpochRecord

#: Title of a panel → fields of `EpochRecord` that it has, if they were measured, and what they are called there.
_PANELS: Final = {
    "loss": {"loss": "training", "validation_loss": "validation"},
    "energy (meV/atom)": {"energy_mae": "validation, MAE"},
    "forces (meV/Å)": {"forces_mae": "validation, MAE"},
    "stress (meV/Å³)": {"stress_mae": "validation, MAE"},
}
_COLOURS: Final = ("#0072b2", "#d55e00")
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
    panels = {panel: _curves(history, names) for panel, names in _PANELS.items()}
    shown = {panel: curves for panel, curves in panels.items() if curves}
    figure = Figure(figsize=(_WIDTH * len(shown), _HEIGHT), layout="constrained")
    for place, (panel, curves) in enumerate(shown.items()):
        _draw(figure.add_subplot(1, len(shown), place + 1), panel, curves)
    figure.suptitle(title)
    save_figure(figure, picture, TrainingError)


def _curves(history: Sequence[EpochRecord], names: Mapping[str, str]) -> dict[str, list[tuple[int, float]]]:
    """Name of each curve of a panel → epochs and values; those without any are left out."""
    curves = {
        label: [(record.epoch, value) for record in history if (value := getattr(record, name)) is not None]
        for name, label in names.items()
    }
    return {label: points for label, points in curves.items() if points}


def _draw(axes: Axes, title: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    for color, (label, points) in zip(_COLOURS, curves.items(), strict=False):
        axes.plot(*zip(*points, strict=True), color=color, marker="." if len(points) < 50 else "", label=label)
    if all(value > 0.0 for points in curves.values() for _, value in points):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2.0, 0.5)))
    axes.set(xlabel="epoch", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, which="both", linewidth=0.3)
    axes.legend()
