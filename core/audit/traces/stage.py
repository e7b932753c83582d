"""Evaluate trajectories with a model and with a second one, and compare what they see frame by frame."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.appended import EMPTY, AppendedFile
from halocline.errors import OutputError
from halocline.evaluation.forms import csv_line
from halocline.evaluation.frames import EvaluatedFrame, evaluate_frames
from halocline.evaluator.result import Result
from halocline.training.errors import MILLI, Deviations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from halocline.audit.source import Source
    from halocline.audit.subject import Subject
    from halocline.audit.tally import Tally

#: What is written, in the folder of an audit.
TABLE: Final = "traces.csv"
FIGURE: Final = "traces.png"

#: First and last part of a trajectory, whose mean energies are compared.
_END: Final = 0.1


@final
@dataclass(slots=True)
class Trace:
    """Energies of a trajectory of one file, as two models see it.

    Attributes:
        name: of the file.
        times: of frames, in ps if all state ``time_fs``; else their numbers.
        has_times: whether all do.
        energies: of each frame, by the model and by the second one, eV/atom.
        forces: of the second model's components, and of those of the model, meV/Å.
    """

    name: str
    times: list[float] = field(default_factory=list)
    has_times: bool = True
    energies: list[tuple[float, float]] = field(default_factory=list)
    forces: Deviations = field(default_factory=Deviations)

    def relative(self) -> NDArray[np.float64]:
        """(2, F) meV/atom, of each model less its own mean: levels of theory count energies from other zeros."""
        energies = np.array(self.energies).T * MILLI
        return np.asarray(energies - energies.mean(axis=1, keepdims=True))

    def document(self) -> dict[str, Any]:
        """What is told of a trajectory of at least one frame; see `audit_traces`."""
        energies, relative = np.array(self.energies).T * MILLI, self.relative()
        end = max(1, int(_END * len(self.energies)))
        climbs = relative[:, -end:].mean(axis=1) - relative[:, :end].mean(axis=1)
        deviations = Deviations()
        deviations.add(relative[1], relative[0])
        return {
            "file": self.name,
            "frames": len(self.energies),
            "offset_meV_per_atom": float(np.mean(energies[1] - energies[0])),
            "rms_after_offset_meV_per_atom": float(np.sqrt(np.mean((relative[1] - relative[0]) ** 2))),
            "largest_after_offset_meV_per_atom": float(np.abs(relative[1] - relative[0]).max()),
            "correlation": deviations.correlation,
            "climb_meV_per_atom": float(climbs[0]),
            "second_climb_meV_per_atom": float(climbs[1]),
            "force_mae_meV_per_A": self.forces.mae,
            "force_rmse_meV_per_A": self.forces.rmse,
        }


def audit_traces(
    subject: Subject,
    second: Subject,
    source: Source,
    folder: Path,
    *,
    tally: Tally,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Evaluate each frame of trajectories with both models, and write a table and a figure.

    Args:
        subject: the model under audit.
        second: the other.
        source: of trajectories; each file has its own trace.
        folder: to write into.
        tally: is told of frames that either model cannot evaluate.
        advance: called after each frame.

    Returns:
        For each trajectory with a frame that both can evaluate: mean difference of energies, second less first;
        what is left without it, root of mean square and largest; correlation of energies; by how much each model
        sees energies climb from the first tenth of frames to the last; errors of force components of the first
        beside the second.

    Raises:
        HaloclineError: an option does not fit a model, or a file cannot be written.
    """
    traces = {name: Trace(name) for name in source.names}
    first, other = subject.evaluator(), second.evaluator()
    with ExitStack() as stack:
        for evaluator in (first, other):
            stack.enter_context(closing(evaluator))
        table = stack.enter_context(AppendedFile(folder / TABLE, EMPTY, error_class=OutputError))
        table.append(csv_line(["file", "frame", "time_fs", "energy_eV_per_atom", "second_energy_eV_per_atom"]))
        one, two = itertools.tee(source.frames())
        pairs = zip(
            evaluate_frames(subject.potential, first, one, subject.head),
            evaluate_frames(second.potential, other, two, second.head),
            strict=True,
        )
        for evaluated, its in _evaluated(pairs, tally, advance):
            table.append(csv_line(_add(traces[evaluated.frame.file], evaluated, its)))
    kept = [trace for trace in traces.values() if trace.energies]
    if kept:
        from halocline.audit.traces.plot import plot_traces

        plot_traces(kept, (subject.name, second.name), folder / FIGURE)
    return {"second": second.document(), "trajectories": [trace.document() for trace in kept]}


def _evaluated(
    pairs: Iterator[tuple[EvaluatedFrame, EvaluatedFrame]], tally: Tally, advance: Callable[[], None]
) -> Iterator[tuple[EvaluatedFrame, tuple[Result, Result]]]:
    """Frames that both can evaluate, and both results."""
    for mine, its in pairs:
        advance()
        result = tally.result(mine)
        if result is None:
            continue
        if isinstance(its.result, Result):
            yield mine, (result, its.result)
        else:
            tally.leave_out(its.result)


def _add(trace: Trace, evaluated: EvaluatedFrame, results: tuple[Result, Result]) -> list[Any]:
    """Take in a frame, and return its row."""
    frame, size = evaluated.frame, len(evaluated.frame.atoms)
    time = frame.atoms.info.get("time_fs")
    trace.has_times &= time is not None
    trace.times.append(frame.number if time is None else float(time))
    energies = results[0].energy / size, results[1].energy / size
    trace.energies.append(energies)
    trace.forces.add(results[1].forces * MILLI, results[0].forces * MILLI)
    return [frame.file, frame.number, "" if time is None else float(time), *energies]
