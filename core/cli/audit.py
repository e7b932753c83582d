"""``halocline audit``: what a model is worth on a user's data, as one report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.cli.options import add_evaluation_options, add_format, add_prune, evaluation_options
from halocline.dynamics.settings import ENSEMBLES, Settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from halocline.audit.audit import Request
    from halocline.audit.stability.plan import Plan
    from halocline.audit.subject import Subject
    from halocline.cli.output import Advance

_SETTINGS = Settings()
_STEPS = 2000
_SET = "test"
_LABELS = ("energy", "forces", "stress")
#: Options that say how dynamics are run, and so mean nothing without --starts.
_OF_DYNAMICS = ("steps", "ensemble", "temperature", "timestep", "seed")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="name in a zoo, or path of a checkpoint")
    parser.add_argument(
        "data", nargs="+", metavar="DATA", help="files with frames, with labels or without, of any format of ASE"
    )
    add_format(parser)
    parser.add_argument(
        "--indices", type=Path, metavar="FILE.npz", help="take those frames of DATA that a split file names"
    )
    parser.add_argument("--set", metavar="NAME", help=f"of the split file, such as train, validation [{_SET}]")
    group = parser.add_argument_group("model")
    group.add_argument(
        "-m",
        "--member",
        action="append",
        default=[],
        metavar="MODEL",
        help="audit the committee of MODEL and this one, whose mean counts; may be said several times",
    )
    add_prune(group)
    group.add_argument("--head", metavar="NAME", help="of a model with several [what structures state]")
    add_evaluation_options(parser)
    group = parser.add_argument_group("labels")
    for label in _LABELS:
        group.add_argument(f"--{label}-key", metavar="NAME", help=f"what the file calls the {label} [usual names]")
    _add_trajectory_options(parser.add_argument_group("trajectories"))
    _add_dynamics_options(parser.add_argument_group("stability of molecular dynamics"))
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="made if it is missing; must be empty"
    )
    group.add_argument("--resume", action="store_true", help="go on with the audit in FOLDER")
    group.add_argument("--json", action="store_true", help="print everything that was found as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Audit a model, and print and write what was found.

    Returns:
        0, or 1 if frames could not be evaluated or have labels that are none. Runs that do not hold are findings.

    Raises:
        HaloclineError: an option, a model or a file is no good, or the folder cannot be written.
    """
    from halocline.audit.audit import REPORT, audit
    from halocline.audit.folder import AuditFolder, check_folder
    from halocline.cli.output import emit_json, say
    from halocline.structures.read import check_source

    check_folder(arguments.output, resume=arguments.resume)
    for name in (*arguments.data, *arguments.trajectory):
        check_source(name, arguments.format)
    request = _request(arguments)
    with AuditFolder(arguments.output, resume=arguments.resume) as folder:
        found = audit(request, folder, say=lambda text: say(f"halocline: {text}"), progress=_progress)
    if arguments.json:
        emit_json(found)
    else:
        _show(found)
    say(f"Wrote {arguments.output / REPORT}.")
    return 1 if found["tally"]["left_out"] else 0


def _add_trajectory_options(group: Any) -> None:
    group.add_argument(
        "--trajectory",
        action="append",
        default=[],
        metavar="FILE",
        help="compare its structures with those of DATA; may be said several times",
    )
    group.add_argument("--second", metavar="MODEL", help="evaluate trajectories with this model as well")
    group.add_argument("--reach", type=float, metavar="Å", help="count distances between atoms up to this [6]")


def _add_dynamics_options(group: Any) -> None:
    group.add_argument(
        "--starts", type=int, metavar="N", help="run dynamics from so many frames of DATA, drawn evenly [none]"
    )
    group.add_argument("--steps", type=int, metavar="N", help=f"of each run [{_STEPS}]")
    group.add_argument("--ensemble", choices=ENSEMBLES, help=f"[{_SETTINGS.ensemble}]")
    group.add_argument("--temperature", type=float, metavar="K", help=f"[{_SETTINGS.temperature:g}]")
    group.add_argument("--timestep", type=float, metavar="FS", help=f"[{_SETTINGS.timestep:g}]")
    group.add_argument(
        "--seed", type=int, metavar="N", help=f"of frames that are drawn and of velocities [{_SETTINGS.seed}]"
    )


def _request(arguments: argparse.Namespace) -> Request:
    from halocline.audit.audit import Request
    from halocline.audit.distributions.statistics import DEFAULT_REACH
    from halocline.audit.source import Source

    plan = _plan(arguments)
    return Request(
        subject=_subject([arguments.model, *arguments.member], arguments),
        data=Source(arguments.data, arguments.format, _chosen(arguments)),
        keys={label: getattr(arguments, f"{label}_key") for label in _LABELS},
        trajectories=arguments.trajectory,
        second=None if arguments.second is None else _second(arguments.second, arguments),
        plan=plan,
        reach=DEFAULT_REACH if arguments.reach is None else arguments.reach,
    )


def _chosen(arguments: argparse.Namespace) -> frozenset[int] | None:
    """Numbers of the frames of a set of a split file; None without such a file."""
    import sys

    from halocline.data.indices import NAMES, read_indices
    from halocline.errors import UsageError, unknown_name

    if arguments.indices is None:
        if arguments.set is not None:
            raise UsageError("--set is one of a split file; name that with --indices.")
        return None
    if len(arguments.data) > 1:
        raise UsageError("A split file is of one file of frames; audit each with its own.")
    chosen = arguments.set or _SET
    if chosen not in NAMES:
        raise unknown_name("set of a split file", chosen, NAMES)
    # How many frames there are shows when they are read, and too few are refused then.
    numbers = read_indices(arguments.indices, sys.maxsize)[chosen]
    if not len(numbers):
        raise UsageError(f"{arguments.indices} has no frames in its set {chosen}; choose another with --set.")
    return frozenset(numbers.tolist())


def _subject(names: list[str], arguments: argparse.Namespace) -> Subject:
    """The model, or the committee of several."""
    import halocline
    from halocline.audit.subject import Subject
    from halocline.errors import UsageError
    from halocline.model.condition import check_head

    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name} is named twice; the members of a committee are different models.")
    members = [halocline.load(name, prune=arguments.prune) for name in names]
    several = len(members) > 1
    potential = halocline.committee_of(*members) if several else members[0]
    check_head(potential.backbone.conditions, arguments.head)
    shown = f"committee of {', '.join(names)}" if several else names[0]
    if arguments.prune is not None:
        shown += f", pruned to {arguments.prune}"
    told = tuple(names) if several else ()
    return Subject(shown, potential, arguments.head, told, evaluation_options(arguments))


def _second(name: str, arguments: argparse.Namespace) -> Subject:
    """The model that evaluates trajectories once more, whole; of one that is audited itself with its head."""
    import halocline
    from halocline.audit.subject import Subject
    from halocline.model.condition import check_head

    potential = halocline.load(name)
    head = arguments.head if name == arguments.model else None
    check_head(potential.backbone.conditions, head)
    return Subject(name, potential, head, options=evaluation_options(arguments))


def _plan(arguments: argparse.Namespace) -> Plan | None:
    from halocline.audit.stability.plan import Plan
    from halocline.errors import UsageError

    given = {name: value for name in _OF_DYNAMICS if (value := getattr(arguments, name)) is not None}
    if arguments.starts is None:
        if given:
            option = f"--{next(iter(given))}"
            raise UsageError(f"{option} is about dynamics; say from how many frames to start with --starts.")
        return None
    steps = given.pop("steps", _STEPS)
    return Plan(arguments.starts, steps, Settings(**given))


def _progress(what: str) -> AbstractContextManager[Advance]:
    from halocline.cli.output import progress

    return progress(None, what)


def _show(found: dict[str, Any]) -> None:
    """Print tables and sentences of the report."""
    from halocline.audit.audit import facts_of
    from halocline.audit.report.sections import sections
    from halocline.cli.output import emit
    from halocline.cli.tables import facts, table, wrapped

    facts("", facts_of(found))
    for section in sections(found):
        emit(f"\n{section.title}")
        for sentence in section.sentences:
            emit(wrapped(sentence))
        for each in section.tables:
            if each.rows:
                table(f"\n{each.title}", each.columns, each.rows)
