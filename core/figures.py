"""Figures as files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from halocline.errors import HaloclineError, UsageError
from halocline.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Dots per inch.
_RESOLUTION: Final = 150


def save_figure(figure: Figure, picture: Path, error_class: type[HaloclineError] = HaloclineError) -> None:
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: made without touching matplotlib's global state.
        picture: the file.
        error_class: of the error that says that it cannot be written.

    Raises:
        HaloclineError: the file cannot be written; of the class that was asked for.
    """
    # Here rather than above: matplotlib makes a cache folder of its own when it is imported.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _take_literally(figure)
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(data, format="png", dpi=_RESOLUTION)
    try:
        write_atomically(picture, data.getvalue())
    except OSError as error:
        raise error_class(f"Cannot write the figure {picture}: {error.strerror or error}.") from error


def _take_literally(figure: Figure) -> None:
    """Have titles, notes and legends say what they say: dollar signs in names of files begin no formula."""
    texts = [*figure.texts]
    for axes in figure.axes:
        legend = axes.get_legend()
        texts += [axes.title, *axes.texts, *([] if legend is None else legend.get_texts())]
    for text in texts:
        text.set_parse_math(False)


def check_figure(picture: Path) -> None:
    """Find out before any work that a figure cannot be written to a file.

    Raises:
        UsageError: the name does not end in .png, or the folder is missing.
    """
    if picture.suffix.lower() != ".png":
        raise UsageError(f"--plot {picture} is written as a PNG; let its name end in .png.")
    if not picture.parent.is_dir():
        raise UsageError(f"The folder of --plot {picture} does not exist; make it first.")
