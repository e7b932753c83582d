"""The outcome of a search as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from halocline.errors import TrainingError
from halocline.figures import save_figure
from halocline.training.pruning.budget import UNITS, Budget
from halocline.training.pruning.search import Outcome

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#555555"
_PANEL: Final = (5.0, 4.0)  # inches
_MARGIN: Final = 1.25  # room for names beside the outermost points


def plot_curve(outcome: Outcome, picture: Path) -> None:
    """Draw errors on validation frames against time, a panel for each quantity that has labels, as a PNG.

    Raises:
        TrainingError: the picture cannot be written.
    """
    first = outcome.candidates[0].validation
    shown = [quantity for quantity in UNITS if getattr(first, f"{quantity}_mae") is not None]
    figure = Figure(figsize=(_PANEL[0] * len(shown), _PANEL[1]), layout="constrained")
    for place, quantity in enumerate(shown):
        _draw(figure.add_subplot(1, len(shown), place + 1), outcome, quantity)
    save_figure(figure, picture, TrainingError)


def _draw(axes: Any, outcome: Outcome, quantity: str) -> None:
    times = [cost.time_ratio for cost in outcome.costs]
    errors = [getattr(each.validation, f"{quantity}_mae") for each in outcome.candidates]
    depths = [i for i, each in enumerate(outcome.candidates) if each.prune is None or each.prune.isdecimal()]
    axes.plot([times[i] for i in depths], [errors[i] for i in depths], color=_GREY, linewidth=0.8, zorder=1)
    for i, candidate in enumerate(outcome.candidates):
        axes.plot(times[i], errors[i], "o", color=_ORANGE if candidate is outcome.chosen else _BLUE)
        offset = (4, 4) if i in depths else (4, -12)
        axes.annotate(
            candidate.name, (times[i], errors[i]), xytext=offset, textcoords="offset points", fontsize="small"
        )
    for budget in outcome.budgets:
        if budget.quantity == quantity:
            axes.axhline(_most(budget, errors[0]), color=_ORANGE, linewidth=0.8, linestyle="--")
    axes.set(
        xlim=(0.0, _MARGIN * max(times)),
        ylim=(0.0, _MARGIN * max(errors)),
        xlabel="time of an evaluation, of the unpruned model's",
        ylabel=f"validation: {quantity} MAE ({UNITS[quantity]})",
    )
    axes.grid(visible=True, linewidth=0.3)


def _most(budget: Budget, unpruned: float) -> float:
    return budget.most * unpruned if budget.relative else budget.most
