"""A periodic table coloured by the error of a model, made without touching matplotlib's global state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from halocline.audit.crystals.audit import CrystalOutcome, Row
from halocline.audit.crystals.summary import LARGE, Summary
from halocline.figures import save_figure

#: Errors of the volume up to each bound, per cent, and the colours; the last is for what is beyond.
_CLASSES = ((0.5, "#2166ac"), (1.0, "#67a9cf"), (2.0, "#d1e5f0"), (LARGE, "#fddbc7"), (float("inf"), "#ef8a62"))
_NO_MINIMUM, _NOT_KNOWN = "#b2182b", "#f2f2f2"
_ON_DARK = {"#2166ac", _NO_MINIMUM}
_NOBLE_GASES = (2, 10, 18, 36, 54, 86)


def plot_audit(rows: Sequence[Row], summary: Summary, picture: Path, *, title: str) -> None:
    """Draw each element with its error of the volume and, smaller, of the bulk modulus, as a PNG.

    Args:
        rows: of an audit of elemental crystals.
        summary: of the same rows.
        picture: the file to write.
        title: above the figure; a line with the medians follows it.

    Raises:
        HaloclineError: the picture cannot be written.
    """
    figure = Figure(figsize=(13.5, 6.2), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        _draw_cell(axes, row)
    axes.set(xlim=(0.9, 19.1), ylim=(7.1, 0.9), aspect=0.9)
    axes.axis("off")
    modulus = summary.bulk_modulus_error
    axes.set_title(
        f"{title}\nmedian error of the volume {summary.volume_error:.2f} %"
        + (f", of the bulk modulus {modulus:.0f} %" if modulus is not None else "")
        + f", {summary.crystals} crystals",
        fontsize="large",
    )
    axes.legend(handles=list(_legend()), loc="upper center", bbox_to_anchor=(0.39, 0.97), ncols=2, frameon=False)
    save_figure(figure, picture)


def place(symbol: str) -> tuple[int, int]:
    """Group and period of an element outside of the lanthanides and actinides; lutetium stands in group 3."""
    number = atomic_numbers[symbol]
    period = sum(number > gas for gas in _NOBLE_GASES) + 1
    before = (0, *_NOBLE_GASES)[period - 1]
    after = (*_NOBLE_GASES, 118)[period - 1]
    from_left, from_right = number - before, after - number
    in_s_block = from_left <= (1 if period == 1 else 2)
    return (from_left if in_s_block else 18 - from_right), period


def _draw_cell(axes: Axes, row: Row) -> None:
    group, period = place(row.crystal.name)
    colour = _colour(row)
    text: dict[str, Any] = {"ha": "center", "va": "center", "color": "white" if colour in _ON_DARK else "black"}
    hatch = "////" if row.outcome is CrystalOutcome.NOT_KNOWN else None
    axes.add_patch(
        Rectangle((group, period), 0.96, 0.96, facecolor=colour, edgecolor="#999999", linewidth=0.5, hatch=hatch)
    )
    axes.text(group + 0.48, period + 0.25, row.crystal.name, fontsize=13, fontweight="bold", **text)
    if row.volume_error is None or row.bulk_modulus_error is None:
        axes.text(group + 0.48, period + 0.66, row.outcome.value.replace(" ", "\n", 1), fontsize=7, **text)
    else:
        axes.text(group + 0.48, period + 0.56, f"{row.volume_error:+.1f}", fontsize=9, **text)
        axes.text(group + 0.48, period + 0.8, f"B {row.bulk_modulus_error:+.0f}", fontsize=7, **text)


def _colour(row: Row) -> str:
    if row.outcome is CrystalOutcome.NOT_KNOWN:
        return _NOT_KNOWN
    if row.volume_error is None:
        return _NO_MINIMUM
    error = abs(row.volume_error)
    return next(colour for bound, colour in _CLASSES if error <= bound)


def _legend() -> Iterator[Patch]:
    lower = 0.0
    for bound, colour in _CLASSES:
        words = f"{lower:g} to {bound:g} %" if bound < float("inf") else f"more than {lower:g} %"
        yield Patch(facecolor=colour, edgecolor="#999999", label=f"volume off by {words}")
        lower = bound
    yield Patch(facecolor=_NO_MINIMUM, edgecolor="#999999", label="no minimum within ±6 %, or not evaluated")
    yield Patch(facecolor=_NOT_KNOWN, edgecolor="#999999", hatch="////", label="element not known to the model")
