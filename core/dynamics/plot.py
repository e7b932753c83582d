"""Figures of a log, made without touching matplotlib's global state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from halocline.dynamics.goal import Goal
from halocline.dynamics.records import read_log
from halocline.dynamics.relaxation import RELAXATION_COLUMNS
from halocline.dynamics.settings import Settings
from halocline.errors import DynamicsError
from halocline.figures import save_figure

_ROW_HEIGHT = 2.2  # inches
_WIDTH = 8.0
_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#555555"  # told apart by everyone (Okabe and Ito)
_PICOSECOND = 1000.0  # fs


def plot_log(log: Path, picture: Path, settings: Settings, *, title: str = "") -> None:
    """Draw temperature, pressure and energies of a log against time, as a PNG.

    Args:
        log: the CSV file of a run.
        picture: the file to write.
        settings: of the run; temperature and pressure that its bath was set to are drawn as lines.
        title: above the figure.

    Raises:
        DynamicsError: the log cannot be read or the picture cannot be written.
    """
    columns = read_log(log)
    time = columns["time_fs"] / _PICOSECOND
    periodic = bool(np.isfinite(columns["pressure_GPa"]).any())
    figure, axes = _stack(4 if periodic else 3, title)
    _draw_with_mean(axes[0], time, columns["temperature_K"], "temperature", "K")
    if settings.ensemble != "nve":
        _draw_target(axes[0], time, [settings.bath_temperature(step) for step in columns["step"]], "bath")
    if periodic:
        _draw_with_mean(axes[1], time, columns["pressure_GPa"], "pressure", "GPa")
        if settings.ensemble == "npt":
            _draw_target(axes[1], time, [settings.pressure for _ in time], "barostat")
    _draw_energies(axes[-2:], time, columns)
    axes[-1].set_xlabel("time (ps)")
    save_figure(figure, picture, DynamicsError)


def plot_relaxation(log: Path, picture: Path, goal: Goal, *, title: str = "") -> None:
    """Draw energy and largest force of a relaxation's log against the step, and the cell if it relaxed, as a PNG.

    Args:
        log: the CSV file of a relaxation.
        picture: the file to write.
        goal: of the relaxation, drawn as lines.
        title: above the figure.

    Raises:
        DynamicsError: the log cannot be read or the picture cannot be written.
    """
    columns = read_log(log, RELAXATION_COLUMNS)
    figure, axes = _stack(4 if goal.cell else 2, title)
    steps, energy = columns["step"], columns["energy_eV"]
    _draw_steps(axes[0], steps, energy - energy[:1], "energy change (eV)")
    axes[1].set_yscale("log")
    _draw_steps(axes[1], steps, columns["fmax_eV_per_A"], "largest force (eV/Å)", goal.fmax)
    if goal.cell:
        _draw_steps(axes[2], steps, columns["pressure_GPa"], "pressure (GPa)", goal.pressure)
        _draw_steps(axes[3], steps, columns["volume_A3"], "volume (Å³)")
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    save_figure(figure, picture, DynamicsError)


def _draw_steps(
    axes: Axes, steps: NDArray[np.float64], values: NDArray[np.float64], name: str, goal: float | None = None
) -> None:
    axes.plot(steps, values, color=_BLUE, marker=".", linewidth=0.9)
    axes.set_ylabel(name)
    if goal is not None:
        axes.axhline(goal, color=_ORANGE, linewidth=0.9, linestyle="--", label=f"goal {goal:g}")
        axes.legend(loc="best", fontsize="small", frameon=False)


def _draw_energies(axes: list[Axes], time: NDArray[np.float64], columns: dict[str, NDArray[np.float64]]) -> None:
    """Draw the changes of the energies: their absolute values would hide them."""
    for name, colour in (("potential", _BLUE), ("kinetic", _ORANGE)):
        values = columns[f"{name}_eV"]
        axes[0].plot(time, values - values[:1], color=colour, linewidth=0.9, label=name)
    axes[0].legend(loc="best", fontsize="small", frameon=False, ncols=2)
    axes[0].set_ylabel("energy change (eV)")
    total = columns["total_eV"]
    axes[1].plot(time, total - total[:1], color=_GREY, linewidth=0.9)
    axes[1].set_ylabel("total energy\nchange (eV)")


def _draw_with_mean(
    axes: Axes, time: NDArray[np.float64], values: NDArray[np.float64], name: str, unit: str
) -> None:
    axes.plot(time, values, color=_BLUE, linewidth=0.9)
    if len(values):
        mean = float(np.nanmean(values))
        axes.axhline(mean, color=_ORANGE, linewidth=0.9, linestyle="--", label=f"mean {mean:.4g} {unit}")
        axes.legend(loc="best", fontsize="small", frameon=False)
    axes.set_ylabel(f"{name} ({unit})")


def _draw_target(axes: Axes, time: NDArray[np.float64], values: list[float], name: str) -> None:
    axes.plot(time, values, color=_GREY, linewidth=0.9, linestyle=":", label=name)
    axes.legend(loc="best", fontsize="small", frameon=False)


def _stack(rows: int, title: str) -> tuple[Figure, list[Axes]]:
    """Make panels above each other that share their horizontal axis."""
    figure = Figure(figsize=(_WIDTH, _ROW_HEIGHT * rows), layout="constrained")
    axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    axes[0].set_title(title, fontsize="medium")
    for panel in axes:
        panel.ticklabel_format(axis="y", useOffset=False)
        panel.grid(color="#dddddd", linewidth=0.5)
    return figure, axes
