"""Figures of several runs: temperature and energy against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from matplotlib.figure import Figure

from halocline.dynamics.records import read_log
from halocline.errors import OutputError
from halocline.figures import save_figure
from halocline.training.errors import MILLI

if TYPE_CHECKING:
    from halocline.audit.stability.plan import Plan

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#555555"  # told apart by everyone (Okabe and Ito)
_SIZE: Final = 8.0, 5.6  # inches
_PICOSECOND: Final = 1000.0  # fs
#: Changes of energy up to this, meV/atom, are drawn in proportion, and larger ones by their logarithm.
_LINEAR: Final = 1000.0


def plot_runs(runs: Sequence[Mapping[str, Any]], logs: Sequence[Path | None], plan: Plan, picture: Path) -> None:
    """Draw temperature and energy of runs, and mark where some have ended early, as a PNG.

    Args:
        runs: what became of each.
        logs: of each, or None.
        plan: of the runs.
        picture: the file to write.

    Raises:
        HaloclineError: a log cannot be read, or the picture cannot be written.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    energy = "total" if plan.settings.ensemble == "nve" else "potential"
    for run, log in zip(runs, logs, strict=True):
        columns = None if log is None else read_log(log)
        if columns is None or not len(columns["step"]):
            continue
        time, values = columns["time_fs"] / _PICOSECOND, columns[f"{energy}_eV"]
        changes = (values - values[0]) / run["atoms"] * MILLI
        colour = _BLUE if run["survived"] else _ORANGE
        for axes, line in ((above, columns["temperature_K"]), (below, changes)):
            axes.plot(time, line, color=colour, linewidth=0.7, alpha=0.7)
            if not run["survived"]:
                axes.plot(time[-1], line[-1], "x", color=_ORANGE)
    if plan.settings.ensemble != "nve":
        above.axhline(plan.settings.temperature, color=_GREY, linewidth=0.9, linestyle=":")
    above.set_ylabel("temperature (K)")
    if max(map(abs, below.get_ylim())) > _LINEAR:
        below.set_yscale("symlog", linthresh=_LINEAR)
    below.set_ylabel(f"change of {energy} energy\n(meV/atom)")
    below.set_xlabel("time (ps)")
    survived = sum(run["survived"] for run in runs)
    above.set_title(f"{survived} of {len(runs)} runs hold; the others end at ×", fontsize="medium")
    save_figure(figure, picture, OutputError)
