"""Run molecular dynamics from a set of starts, and tell which runs hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halocline.audit.stability.plan import Plan, draw_starts
from halocline.audit.stability.run import MEASURED, files_of, run_start
from halocline.evaluation.forms import csv_line
from halocline.program.replacement import identity_of

if TYPE_CHECKING:
    from halocline.audit.folder import AuditFolder
    from halocline.audit.source import Source
    from halocline.audit.subject import Subject

#: What is written, in the folder of an audit.
TABLE: Final = "stability.csv"
FIGURE: Final = "stability.png"

_PLACE: Final = ("start", "source", "formula", "atoms", "seed", "steps_asked", "survived", "reason")


def audit_stability(
    subject: Subject,
    source: Source,
    plan: Plan,
    folder: AuditFolder,
    identity: Mapping[str, Any],
    *,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Run from all starts; those that an earlier call has finished are not run again, and others go on.

    Args:
        subject: the model.
        source: of frames to start from.
        plan: of the runs.
        folder: of the audit; runs are in its folder ``md``.
        identity: what runs follow from besides model and plan.
        advance: called after each run.

    Raises:
        HaloclineError: there is nothing to start from, the ensemble does not suit the model, or a file cannot be
            written.
    """
    starts = draw_starts(source.frames(), plan)
    runs: list[Mapping[str, Any]] = []
    calculator = subject.calculator()
    with closing(calculator):
        of_runs = {"model": subject.potential.digest(), **identity_of(calculator.replaced)}
        for number, start in enumerate(starts):
            files = files_of(folder.path, number)
            run = partial(run_start, start, number, plan, calculator, files, of_runs)
            runs.append(folder.part(f"start-{number:03d}", identity, run))
            advance()
    folder.write(TABLE, b"".join(map(csv_line, _rows(runs))))
    _draw(runs, plan, folder.path)
    return {"plan": plan.identity(), "summary": summarise(runs), "runs": runs}


def trajectories(folder: Path, plan: Plan) -> list[Path]:
    """The trajectories of runs that have frames."""
    every = (files_of(folder, number).trajectory for number in range(plan.starts))
    return [path for path in every if path.exists() and path.stat().st_size]


def summarise(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is to be said of several runs, of which there is at least one."""
    times = [run["time_fs"] or 0.0 for run in runs]
    temperatures = [run["temperature_K"] for run in runs if run["survived"] and run["temperature_K"] is not None]
    drifts = [abs(run["total_drift_meV_per_atom_per_ps"]) for run in runs if _has_drift(run)]
    kept = [run["molecules_kept"] for run in runs if run["molecules_kept"] is not None]
    return {
        "runs": len(runs),
        "survived": sum(run["survived"] for run in runs),
        "shortest_time_fs": min(times),
        "mean_temperature_K": float(np.mean(temperatures)) if temperatures else None,
        "largest_drift_meV_per_atom_per_ps": max(drifts) if drifts else None,
        "molecules_broken_in": kept.count(False) if kept else None,
    }


def _has_drift(run: Mapping[str, Any]) -> bool:
    return bool(run["survived"]) and run["total_drift_meV_per_atom_per_ps"] is not None


def _rows(runs: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    names = (*_PLACE, *MEASURED)
    return [list(names), *(["" if run[name] is None else run[name] for name in names] for run in runs)]


def _draw(runs: Sequence[Mapping[str, Any]], plan: Plan, folder: Path) -> None:
    # Here rather than above: matplotlib makes a cache folder of its own when it is imported.
    from halocline.audit.stability.plot import plot_runs

    logs = [files_of(folder, number).log for number in range(len(runs))]
    if any(log.exists() for log in logs):
        plot_runs(runs, [log if log.exists() else None for log in logs], plan, folder / FIGURE)
