"""An audit of a model on a user's data, from frames to the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, final

from halocline.audit.curl.stage import audit_curl
from halocline.audit.distributions.stage import audit_distributions
from halocline.audit.distributions.statistics import DEFAULT_REACH
from halocline.audit.labels.stage import audit_labels
from halocline.audit.report.page import page
from halocline.audit.report.sections import sections
from halocline.audit.source import Source
from halocline.audit.stability.stage import audit_stability, trajectories
from halocline.audit.tally import Tally
from halocline.audit.traces.stage import audit_traces
from halocline.errors import HaloclineError, UsageError
from halocline.structures.source import STANDARD_INPUT

if TYPE_CHECKING:
    from halocline.audit.folder import AuditFolder
    from halocline.audit.stability.plan import Plan
    from halocline.audit.subject import Subject

#: What is written, in the folder of an audit, of all parts.
DOCUMENT: Final = "audit.json"
REPORT: Final = "report.html"

#: Å. Neighbours within it are thousands for each atom.
_FARTHEST: Final = 15.0

_LIBRARIES: Final = ("halocline", "torch", "ase", "numpy", "scipy")

#: Begins a bar of progress, by what is done, and gives the function that moves it.
Progress = Callable[[str], AbstractContextManager[Callable[[], None]]]


@final
@dataclass(frozen=True, slots=True)
class Request:
    """What is audited.

    Attributes:
        subject: the model.
        data: frames of reference, with labels or without.
        keys: label → what files call it, or None for the usual names.
        trajectories: files whose structures are compared with those of reference; of the same format.
        second: a model that evaluates trajectories once more.
        plan: of runs of molecular dynamics, whose trajectories are compared as well.
        reach: Å, to which distances between atoms are counted.
    """

    subject: Subject
    data: Source
    keys: Mapping[str, str | None] = field(default_factory=lambda: dict.fromkeys(("energy", "forces", "stress")))
    trajectories: list[str] = field(default_factory=list)
    second: Subject | None = None
    plan: Plan | None = None
    reach: float = DEFAULT_REACH

    def __post_init__(self) -> None:
        if STANDARD_INPUT in (*self.data.files, *self.trajectories):
            raise UsageError("An audit reads frames more than once; write them to a file, and name that.")
        if self.second is not None and not self.trajectories and self.plan is None:
            raise UsageError(
                "A second model evaluates trajectories: name some with --trajectory, or ask for --starts."
            )
        if not 0.0 < self.reach <= _FARTHEST:
            raise UsageError(
                f"Distances can be counted to more than 0 and at most {_FARTHEST:g} Å, not {self.reach}."
            )

    def identity(self) -> dict[str, Any]:
        """What all parts follow from, as JSON values."""
        return {**self.subject.identity(), **self.data.identity()}


def audit(
    request: Request, folder: AuditFolder, *, say: Callable[[str], None], progress: Progress
) -> dict[str, Any]:
    """Audit a model, and write everything into a folder.

    Parts that an earlier call has finished are taken over; see `AuditFolder.part`.

    Args:
        request: what is audited.
        folder: within its block.
        say: is told why frames are left out.
        progress: shows how far it is.

    Returns:
        What is in `DOCUMENT`.

    Raises:
        HaloclineError: an option does not fit, a file cannot be written, or the folder holds another audit.
    """
    identity = request.identity()
    found: dict[str, Any] = {
        "model": request.subject.document(),
        "data": {"files": list(request.data.files), "sha256": identity["data"]},
        "trajectories": request.trajectories,
        "versions": _versions(),
    }
    _refuse_another(request, folder, identity)
    labels = folder.part(
        "labels", {**identity, "keys": request.keys}, partial(_labels, request, folder, say, progress)
    )
    found["labels"], tallies = labels["found"], [labels["tally"]]
    found["curl"] = folder.part("curl", identity, partial(_curl, request, folder, progress))
    found["stability"] = _stability(request, folder, identity, progress)
    moving = Source(request.trajectories, request.data.file_format, runs=_of_runs(request, folder))
    of_frames = {**identity, "trajectories": moving.identity()["data"]}
    count = partial(_distributions, request, moving, folder, progress)
    found["distributions"] = folder.part("distributions", {**of_frames, "reach": request.reach}, count)
    found["traces"] = None
    if request.second is not None:
        both = {**of_frames, "second": request.second.identity()}
        traces = folder.part("traces", both, partial(_traces, request, moving, folder, say, progress))
        found["traces"] = traces["found"]
        tallies.append(traces["tally"])
    found["tally"] = _together(tallies)
    _write(found, folder)
    return found


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}


def _refuse_another(request: Request, folder: AuditFolder, identity: Mapping[str, Any]) -> None:
    """Refuse at once, not after hours of dynamics, what the distributions of the folder do not follow from."""
    trajectories = Source(request.trajectories).identity()["data"]
    plan = None if request.plan is None else request.plan.identity()
    of_call = {**identity, "trajectories": trajectories, "reach": request.reach, "runs": plan}
    of_call |= {f"the version of {name}": number for name, number in _versions().items()}
    folder.part("call", of_call, dict)


def _labels(
    request: Request, folder: AuditFolder, say: Callable[[str], None], progress: Progress
) -> dict[str, Any]:
    tally = Tally(say)
    with progress("evaluating frames") as advance:
        found = audit_labels(
            *(request.subject, request.data, request.keys, folder.path),
            tally=tally,
            advance=advance,
        )
    return {"found": found, "tally": tally.document()}


def _curl(request: Request, folder: AuditFolder, progress: Progress) -> dict[str, Any]:
    with progress("curl of forces") as advance:
        return audit_curl(request.subject, request.data, folder.path, advance=advance)


def _stability(
    request: Request, folder: AuditFolder, identity: Mapping[str, Any], progress: Progress
) -> dict[str, Any] | None:
    if request.plan is None:
        return None
    with progress("molecular dynamics") as advance:
        return audit_stability(
            *(request.subject, request.data, request.plan, folder),
            {**identity, **request.plan.identity()},
            advance=advance,
        )


def _of_runs(request: Request, folder: AuditFolder) -> list[str]:
    return [] if request.plan is None else [str(path) for path in trajectories(folder.path, request.plan)]


def _distributions(request: Request, moving: Source, folder: AuditFolder, progress: Progress) -> dict[str, Any]:
    with progress("structures") as advance:
        return audit_distributions(request.data, moving, request.reach, folder.path, advance=advance)


def _traces(
    request: Request, moving: Source, folder: AuditFolder, say: Callable[[str], None], progress: Progress
) -> dict[str, Any]:
    assert request.second is not None
    tally = Tally(say)
    with progress("trajectories") as advance:
        found = audit_traces(
            *(request.subject, request.second, moving, folder.path),
            tally=tally,
            advance=advance,
        )
    return {"found": found, "tally": tally.document()}


def _together(tallies: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of several parts, and their reasons one after the other."""
    return {
        "frames": sum(each["frames"] for each in tallies),
        "left_out": sum(each["left_out"] for each in tallies),
        "reasons": [reason for each in tallies for reason in each["reasons"]],
        "outside": [remark for each in tallies for remark in each["outside"]],
    }


def _write(found: dict[str, Any], folder: AuditFolder) -> None:
    folder.write(DOCUMENT, json.dumps(found, indent=2, allow_nan=False).encode())
    title = f"Audit of {found['model']['name']}"
    try:
        html = page(title, facts_of(found), sections(found), folder.path)
    except OSError as error:
        raise HaloclineError(f"A figure of the audit cannot be read: {error}.") from error
    folder.write(REPORT, html)


def facts_of(found: Mapping[str, Any]) -> dict[str, str]:
    """What an audit is of, by name."""
    model, tally = found["model"], found["tally"]
    options = ", ".join(f"{name} {value}" for name, value in model["options"].items() if value)
    return {
        "model": model["name"],
        "SHA-256 of the model": model["sha256"],
        "level of theory": model["level_of_theory"] or "not stated",
        "evaluated with": options,
        "data": ", ".join(found["data"]["files"]),
        "trajectories": ", ".join(found["trajectories"]) or "none was named",
        "frames evaluated": f"{tally['frames'] - tally['left_out']} of {tally['frames']}",
        "versions": ", ".join(f"{name} {number}" for name, number in found["versions"].items()),
    }
