"""Figures of errors: what `halocline eval` does not draw."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure

from halocline.audit.labels.label_errors import MORE_UNITS
from halocline.errors import OutputError
from halocline.evaluation.plot import draw_parity
from halocline.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from halocline.audit.labels.label_errors import LabelErrors

_BLUE, _ORANGE = "#0072b2", "#d55e00"  # told apart by everyone (Okabe and Ito)
_PANEL: Final = 4.2  # inches
_COLUMNS: Final = 2
_TITLES: Final = {
    "energy per molecule": "energy (eV/molecule)",
    "force magnitude": "force magnitude (eV/Å)",
}
#: Parts of equal numbers, by length of the label, that angles are averaged over, and fewest numbers in one.
_PARTS: Final = 20
_FEWEST: Final = 10


def plot_errors(errors: LabelErrors, picture: Path) -> None:
    """Draw energies by molecule, magnitudes and angles of forces, and errors by element, as a PNG.

    Args:
        errors: of a model, with energies of molecules or forces.
        picture: the file to write.

    Raises:
        OutputError: it cannot be written.
    """
    names = [name for name in MORE_UNITS if errors.quantities[name].count]
    panels = len(names) + bool(errors.elements)
    columns = min(_COLUMNS, panels)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(_PANEL * columns, _PANEL * rows), layout="constrained")
    every = [figure.add_subplot(rows, columns, place + 1) for place in range(panels)]
    for axes, name in zip(every, names, strict=False):
        pairs = errors.points[name].pairs
        if name == "force angle":
            _draw_angles(axes, pairs)
        else:
            draw_parity(axes, pairs, errors.quantities[name], _TITLES[name], MORE_UNITS[name])
    if errors.elements:
        _draw_elements(every[-1], errors)
    save_figure(figure, picture, OutputError)


def _draw_angles(axes: Axes, pairs: NDArray[np.float64]) -> None:
    """Angles against lengths of labels, and the median of neighbours along them."""
    lengths, angles = pairs[:, np.argsort(pairs[0], kind="stable")]
    axes.plot(lengths, angles, ".", color=_BLUE, markersize=3.0, alpha=0.3, markeredgewidth=0.0, rasterized=True)
    parts = min(_PARTS, len(lengths) // _FEWEST)
    if parts > 1:
        middles = [
            (float(np.median(part[0])), float(np.median(part[1])))
            for part in np.array_split(np.stack([lengths, angles]), parts, axis=1)
        ]
        axes.plot(*zip(*middles, strict=True), color=_ORANGE, linewidth=1.2, label="median")
        axes.legend(frameon=False, fontsize="small")
    axes.set(
        xscale="log",
        xlabel="force of the label (eV/Å)",
        ylabel="angle between model and label (°)",
        title="direction of forces",
        ylim=(0.0, 180.0),
    )


def _draw_elements(axes: Axes, errors: LabelErrors) -> None:
    """Mean absolute errors of magnitudes, and on an axis of their own, of angles."""
    symbols = sorted(errors.elements)
    beside = axes.twinx()
    for offset, name, where, colour in (
        (-0.2, "force magnitude", axes, _BLUE),
        (0.2, "force angle", beside, _ORANGE),
    ):
        heights = [errors.elements[symbol][name].mae or 0.0 for symbol in symbols]
        where.bar(np.arange(len(symbols)) + offset, heights, width=0.38, color=colour)
        where.set_ylabel(f"MAE of {name} ({MORE_UNITS[name]})", color=colour)
    axes.set_xticks(range(len(symbols)), symbols)
    axes.set_title("forces by element")
