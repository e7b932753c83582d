"""What a run amounts to, from its log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halocline.dynamics.engine import DynamicsResult
from halocline.dynamics.records import read_log

_SECONDS_PER_DAY = 86_400.0


def summarise(log: Path, outcome: DynamicsResult, *, atoms: int, timestep: float) -> dict[str, Any]:
    """Average the log, over all steps in it, and time the steps that were computed by this process.

    Args:
        log: the CSV file of the run.
        outcome: of the call that just ended.
        atoms: number of atoms.
        timestep: fs.

    Returns:
        Plain values; those that do not exist, such as the pressure of a molecule, are None.
    """
    computed, seconds = outcome.computed, outcome.seconds
    rate = computed / seconds if computed else None
    return {
        "steps": outcome.step,
        "time_fs": outcome.step * timestep,
        "finished": outcome.finished,
        "stopped": outcome.stopped,
        "collected_frames": outcome.collected,
        "atoms": atoms,
        **averages(read_log(log)),
        "steps_per_s": rate,
        "ns_per_day": rate * timestep * 1e-6 * _SECONDS_PER_DAY if rate else None,
        "us_per_atom_step": 1e6 / rate / atoms if rate else None,
    }


def averages(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, float | None]:
    """What the columns of a log amount to: the last potential energy, means and deviations of the rest.

    Args:
        columns: from `read_log`.
    """
    return {
        "potential_eV": _last(columns["potential_eV"]),
        "temperature_K": _mean(columns["temperature_K"]),
        "temperature_std_K": _deviation(columns["temperature_K"]),
        "pressure_GPa": _mean(columns["pressure_GPa"]),
        "pressure_std_GPa": _deviation(columns["pressure_GPa"]),
        "max_force_std_eV_per_A": _largest(columns.get("max_force_std_eV_per_A")),
    }


def _last(column: Any) -> float | None:
    return float(column[-1]) if len(column) else None


def _mean(column: Any) -> float | None:
    return _finite(column.mean()) if len(column) else None


def _deviation(column: Any) -> float | None:
    return _finite(column.std()) if len(column) else None


def _largest(column: Any) -> float | None:
    return None if column is None or not len(column) else _finite(column.max())


def _finite(value: float) -> float | None:
    """Turn the NaN of an empty column into None."""
    return float(value) if value == value else None
