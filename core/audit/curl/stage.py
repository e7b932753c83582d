"""Measure the curl of direct forces on a few frames of an audit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from halocline.appended import EMPTY, AppendedFile
from halocline.audit.draw import draw_frames
from halocline.errors import HaloclineError, OutputError
from halocline.evaluation.forms import csv_line
from halocline.potential.curl import curl_at
from halocline.probes.curl import PROBES, STEP, Curl

if TYPE_CHECKING:
    from halocline.audit.source import Source
    from halocline.audit.subject import Subject

#: What is written, in the folder of an audit, if forces are direct.
TABLE: Final = "curl.csv"

#: Frames that are looked at, drawn evenly.
FRAMES: Final = 4

_COLUMNS: Final = ("file", "frame", "atoms", "asymmetry", "curl_eV_per_A2")


def audit_curl(
    subject: Subject, source: Source, folder: Path, *, advance: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Estimate by how much forces are no derivative, in float64, and write a table.

    Args:
        subject: the model.
        source: of frames. Those that cannot be evaluated are passed over: other parts of an audit name them.
        folder: to write into.
        advance: called after each frame.

    Returns:
        Whether forces are derivatives of the energy by construction, so that nothing was measured; if they are
        not, how many frames were looked at, and over them what `Curl` holds.

    Raises:
        HaloclineError: the backend has no float64, or the table cannot be written.
    """
    if subject.potential.backbone.derives_forces:
        return {"conservative": True}
    exact = replace(subject, options={**subject.options, "dtype": "float64"})
    evaluator, curls = exact.evaluator(), []
    with closing(evaluator), AppendedFile(folder / TABLE, EMPTY, error_class=OutputError) as table:
        table.append(csv_line(list(_COLUMNS)))
        for frame in draw_frames(source.frames(), FRAMES, seed=0):
            try:
                curl = curl_at(exact.potential, evaluator, frame.atoms, subject.head)
            except HaloclineError:
                continue
            finally:
                advance()
            curls.append(curl)
            cells = (frame.file, frame.number, len(frame.atoms), _or_empty(curl.asymmetry), curl.magnitude)
            table.append(csv_line(list(cells)))
    found: dict[str, Any] = {"conservative": False, "frames": len(curls), "probes": PROBES, "step_A": STEP}
    if not curls:
        return found
    mean = Curl.mean(curls)
    return found | {"asymmetry": mean.asymmetry, "curl_eV_per_A2": mean.magnitude}


def _or_empty(value: float | None) -> float | str:
    return "" if value is None else value
