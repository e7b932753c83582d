"""One run of molecular dynamics, and what is to be said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from halocline.audit.geometry.bonds import Surroundings
from halocline.audit.geometry.molecules import molecules_of
from halocline.audit.stability.plan import Plan, Start
from halocline.dynamics import RunFiles, run_dynamics
from halocline.dynamics.records import read_log
from halocline.errors import StructureError, UnstableDynamicsError
from halocline.training.errors import MILLI

#: Averages are taken from here on, as a part of the run: starts are not of the temperature that is asked for.
_SETTLED: Final = 0.5
_PICOSECOND: Final = 1000.0  # fs


def files_of(folder: Path, number: int) -> RunFiles:
    """The files of a run."""
    return RunFiles(folder / "md" / f"start-{number:03d}")


def run_start(
    start: Start,
    number: int,
    plan: Plan,
    calculator: BaseCalculator,
    files: RunFiles,
    identity: dict[str, Any],
) -> dict[str, Any]:
    """Run from one start, or go on with that run, as far as it holds.

    Args:
        start: where it begins.
        number: of the start.
        plan: of all runs.
        calculator: of the model.
        files: to write.
        identity: what else must be equal when it is gone on with.

    Returns:
        What became of it, as JSON values.

    Raises:
        HaloclineError: a file cannot be written, or the ensemble does not suit the model.
    """
    settings, reason = plan.of_start(number), None
    try:
        run_dynamics(
            start.atoms,
            calculator,
            settings,
            files,
            steps=plan.steps,
            identity=identity,
            resume=files.resumable,
        )
    except (
        UnstableDynamicsError,
        StructureError,
    ) as error:  # the latter where not even the start can be evaluated
        reason = str(error)
    told = {"start": number, "source": start.name, "formula": start.atoms.get_chemical_formula()}
    told |= {"atoms": len(start.atoms), "seed": settings.seed, "steps_asked": plan.steps}
    return told | {"survived": reason is None, "reason": reason} | _measured(start.atoms, files, plan)


def _measured(start: Atoms, files: RunFiles, plan: Plan) -> dict[str, Any]:
    """Numbers of a run, as far as it went; None of what there is not."""
    if not files.log.exists():
        return dict.fromkeys(MEASURED)
    columns = read_log(files.log)
    if not len(columns["step"]):
        return dict.fromkeys(MEASURED)
    settled = slice(int(_SETTLED * len(columns["step"])), None)
    temperature, potential = columns["temperature_K"], columns["potential_eV"]
    before, after = _formulas(start), _formulas(_last_frame(files))
    return {
        "steps": int(columns["step"][-1]),
        "time_fs": float(columns["time_fs"][-1]),
        "temperature_K": float(temperature[settled].mean()),
        "temperature_std_K": float(temperature[settled].std()),
        "highest_temperature_K": float(temperature.max()),
        "potential_change_meV_per_atom": float(potential[-1] - potential[0]) / len(start) * MILLI,
        "total_drift_meV_per_atom_per_ps": _drift(columns, len(start))
        if plan.settings.ensemble == "nve"
        else None,
        "molecules_kept": None if before is None or after is None else before == after,
    }


#: Of the numbers of a run that has any.
MEASURED: Final = (
    "steps",
    "time_fs",
    "temperature_K",
    "temperature_std_K",
    "highest_temperature_K",
    "potential_change_meV_per_atom",
    "total_drift_meV_per_atom_per_ps",
    "molecules_kept",
)


def _drift(columns: dict[str, NDArray[np.float64]], atoms: int) -> float | None:
    """Slope of the total energy by least squares, meV/atom/ps; None of a single step."""
    time = columns["time_fs"] / _PICOSECOND
    if len(time) < 2:
        return None
    return float(np.polynomial.Polynomial.fit(time, columns["total_eV"], 1).convert().coef[-1]) / atoms * MILLI


def _formulas(atoms: Atoms) -> dict[str, int] | None:
    """Its molecules; None without."""
    found = molecules_of(Surroundings.of(atoms))
    return None if found is None else found.formulas


def _last_frame(files: RunFiles) -> Atoms:
    last = ase.io.read(files.trajectory, index=-1, format="extxyz")
    assert isinstance(last, Atoms)  # one index is one structure
    return last
