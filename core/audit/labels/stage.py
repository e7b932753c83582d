"""Evaluate the frames of an audit, and compare them with whatever labels they carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from halocline.audit.labels.label_errors import LabelErrors
from halocline.data.labels import LabelReader
from halocline.errors import TrainingError
from halocline.evaluation.committee import CommitteeAccuracy
from halocline.evaluation.error_table import COLUMNS, ErrorTable
from halocline.evaluation.frames import evaluate_frames, looked_at

if TYPE_CHECKING:
    from halocline.audit.source import Source
    from halocline.audit.subject import Subject
    from halocline.audit.tally import Tally
    from halocline.evaluation.frames import EvaluatedFrame

#: What is written, in the folder of an audit.
TABLE: Final = "structures.csv"
PARITY: Final = "parity.png"
ERRORS: Final = "errors.png"

_MORE_COLUMNS: Final = {
    "molecules": "molecules",
    "energy error per molecule": "energy_error_meV_per_molecule",
    "force magnitude MAE": "force_magnitude_mae_meV_per_A",
    "force angle MAE": "force_angle_mae_degrees",
}


def audit_labels(
    subject: Subject,
    source: Source,
    keys: Mapping[str, str | None],
    folder: Path,
    *,
    tally: Tally,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Evaluate frames; write a table of all, and figures if there are labels.

    Args:
        subject: the model.
        source: of the frames.
        keys: label → what files call it, or None.
        folder: to write into.
        tally: is told of frames and why some are left out.
        advance: called after each frame.

    Returns:
        What `LabelErrors.document` tells, of a committee what `CommitteeAccuracy.document` does, and which
        labels there are; without labels, only the latter.

    Raises:
        HaloclineError: an option does not fit the model, or a file cannot be written.
    """
    reader = LabelReader(keys, lambda label, name: f"--{label}-key {name}")
    errors = LabelErrors(subject.potential.species)
    committee = CommitteeAccuracy(subject.members, subject.potential.species) if subject.members else None
    evaluator = subject.evaluator()
    with closing(evaluator), ErrorTable(folder / TABLE, COLUMNS | _MORE_COLUMNS) as table:
        frames = evaluate_frames(subject.potential, evaluator, source.frames(), subject.head)
        for evaluated in looked_at(reader, frames):
            _compare(evaluated, reader, errors, committee, table, tally)
            advance()
    reader.warn_of_others()
    found = {"labels": [asdict(count) for count in reader.counts()], "frames": errors.accuracy.frames}
    if errors.is_empty:
        return found
    _draw(errors, folder, f"{subject.name}, {errors.accuracy.frames} structures")
    return found | errors.document() | {"committee": committee and committee.document()}


def _compare(
    evaluated: EvaluatedFrame,
    reader: LabelReader,
    errors: LabelErrors,
    committee: CommitteeAccuracy | None,
    table: ErrorTable,
    tally: Tally,
) -> None:
    """Take in a frame; one without a result or with a label that is none is left out."""
    result = tally.result(evaluated)
    if result is None:
        return
    try:
        labels = reader.read(evaluated.frame)
    except TrainingError as error:
        tally.leave_out(error)
        return
    if committee is not None:
        committee.add(evaluated.frame, labels, result)
    table.add(evaluated.frame, labels, result, errors.add(evaluated.frame, labels, result))


def _draw(errors: LabelErrors, folder: Path, title: str) -> None:
    # Here rather than above: matplotlib makes a cache folder of its own when it is imported.
    from halocline.audit.labels.plot import plot_errors
    from halocline.evaluation.plot import plot_parity

    plot_parity(errors.accuracy, folder / PARITY, title=title)
    if any(each.count for each in errors.quantities.values()):
        plot_errors(errors, folder / ERRORS)
