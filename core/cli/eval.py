"""``halocline eval``: compare a model with labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.cli.account import Account
from halocline.cli.options import (
    add_format,
    add_model_options,
    evaluation_options,
    load_potential,
    member_names,
    model_name,
    say_replaced,
)

if TYPE_CHECKING:
    from halocline.data.labels import LabelReader
    from halocline.evaluation.accuracy import Accuracy
    from halocline.evaluation.committee import CalibrationTable, CommitteeAccuracy
    from halocline.evaluation.error_table import ErrorTable
    from halocline.evaluation.frames import EvaluatedFrame
    from halocline.potential.potential import Potential
    from halocline.program.replacement import Replacement
    from halocline.training.errors import Deviations

_LABELS = ("energy", "forces", "stress")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "structures",
        nargs="+",
        metavar="STRUCTURES",
        help="labelled frames, in files of any format that ASE reads; - is extxyz on stdin",
    )
    add_format(parser)
    add_model_options(parser, several=True)
    group = parser.add_argument_group("labels")
    for label in _LABELS:
        group.add_argument(f"--{label}-key", metavar="NAME", help=f"what the file calls the {label} [usual names]")
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", type=Path, metavar="FILE.csv", help="write the errors of each frame")
    group.add_argument("--overwrite", action="store_true", help="replace FILE.csv")
    group.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the model's numbers against the labels")
    group.add_argument("--json", action="store_true", help="print all errors as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate labelled frames as they are read, and print how far the model is from the labels.

    Returns:
        0, or 1 if frames could not be evaluated or have labels that are none.

    Raises:
        HaloclineError: no frame carries a label, or an option, a model or a file is no good.
    """
    from contextlib import closing, nullcontext

    from halocline.cli.output import progress
    from halocline.data.labels import LabelReader
    from halocline.evaluation.accuracy import Accuracy
    from halocline.evaluation.committee import CommitteeAccuracy
    from halocline.evaluation.error_table import ErrorTable
    from halocline.evaluation.frames import evaluate_frames, looked_at, read_all
    from halocline.evaluation.plot import plot_parity
    from halocline.model.condition import check_head

    _check(arguments)
    potential = load_potential(arguments)
    check_head(potential.backbone.conditions, arguments.head)
    account = Account(arguments)
    reader = LabelReader({label: getattr(arguments, f"{label}_key") for label in _LABELS}, _as_option)
    accuracy = Accuracy(potential.species)
    members = member_names(arguments)
    committee = CommitteeAccuracy(members, potential.species) if members else None
    errors_of_frames = ErrorTable(arguments.output) if arguments.output else None
    evaluator = potential.evaluator(**evaluation_options(arguments))
    say_replaced(evaluator.replaced)
    bar = progress(None, "evaluating", "structures")
    with closing(evaluator), errors_of_frames or nullcontext(), bar as advance:
        frames = read_all(arguments.structures, arguments.format)
        for evaluated in looked_at(reader, evaluate_frames(potential, evaluator, frames, arguments.head)):
            _compare(evaluated, account, reader, accuracy, committee, errors_of_frames)
            advance()
    _refuse_unlabelled(reader, accuracy)
    if arguments.plot is not None:
        plot_parity(accuracy, arguments.plot, title=f"{model_name(arguments)}, {accuracy.frames} structures")
    _report(arguments, potential, account, reader, accuracy, committee, evaluator.replaced)
    reader.warn_of_others()
    return account.close()


def _check(arguments: argparse.Namespace) -> None:
    """Refuse files that cannot be read, and outputs that cannot be written."""
    from halocline.errors import UsageError
    from halocline.evaluation.error_table import check_table
    from halocline.figures import check_figure
    from halocline.structures.read import check_source

    if arguments.output is not None:
        check_table(arguments.output, overwrite=arguments.overwrite)
    elif arguments.overwrite:
        raise UsageError("--overwrite is about a file of errors; name it with --output.")
    if arguments.plot is not None:
        check_figure(arguments.plot)
    for name in arguments.structures:
        check_source(name, arguments.format)


def _as_option(label: str, name: str) -> str:
    return f"--{label}-key {name}"


def _compare(
    evaluated: EvaluatedFrame,
    account: Account,
    reader: LabelReader,
    accuracy: Accuracy,
    committee: CommitteeAccuracy | None,
    errors_of_frames: ErrorTable | None,
) -> None:
    """Take in a frame; one without a result or with a label that is none is left out."""
    from halocline.errors import TrainingError

    result = account.result(evaluated)
    if result is None:
        return
    try:
        labels = reader.read(evaluated.frame)
    except TrainingError as error:
        account.leave_out(error)
        return
    errors = accuracy.add(evaluated.frame, labels, result)
    if committee is not None:
        committee.add(evaluated.frame, labels, result)
    if errors_of_frames is not None:
        errors_of_frames.add(evaluated.frame, labels, result, errors)


def _refuse_unlabelled(reader: LabelReader, accuracy: Accuracy) -> None:
    """Refuse to say nothing.

    Raises:
        TrainingError: frames have results, and none of them has a label.
    """
    if accuracy.frames and not any(each.count for each in accuracy.quantities.values()):
        raise reader.missing("energy", "forces", "stress")


def _report(
    arguments: argparse.Namespace,
    potential: Potential,
    account: Account,
    reader: LabelReader,
    accuracy: Accuracy,
    committee: CommitteeAccuracy | None,
    replaced: tuple[Replacement, ...],
) -> None:
    from halocline.cli.output import emit_json, say
    from halocline.evaluation.hints import hints
    from halocline.program.replacement import kernels_of

    remarks = list(hints(accuracy))
    if arguments.json:
        document = _document(arguments, potential, account, reader, accuracy)
        more = {"kernels": kernels_of(replaced), "hints": remarks}
        emit_json(document | (committee.document() if committee else {}) | more)
    elif accuracy.frames:
        _show(arguments, account, reader, accuracy)
        if committee is not None:
            _show_committee(accuracy, committee)
    for label in (count.label for count in reader.counts() if not count.frames):
        say(f"halocline: no frame carries {label}, so nothing is said of it; --{label}-key says how it is called.")
    if accuracy.without_stress:
        say(
            f"halocline: {accuracy.without_stress} frames carry a stress that is not compared: they are not "
            "periodic in three directions."
        )
    for remark in remarks:
        say(f"halocline: {remark}")


def _show(arguments: argparse.Namespace, account: Account, reader: LabelReader, accuracy: Accuracy) -> None:
    from halocline.cli.tables import facts, table
    from halocline.evaluation.accuracy import UNITS

    told = {"model": model_name(arguments), "frames": f"{accuracy.frames} of {account.frames}"}
    for count in reader.counts():
        told[count.label] = f"{count.key}, in {count.frames} of {count.total}" if count.frames else ""
    facts("", told)
    columns = ("labels", "MAE", "RMSE", "largest", "R²", "std of labels")
    quantities = [(name, each) for name, each in accuracy.quantities.items() if each.count]
    rows = [(name, UNITS[name], *_cells(each, vectors=name == "force vectors")) for name, each in quantities]
    table("\nErrors", ("quantity", "unit", *columns), rows)
    if len(accuracy.elements) > 1:
        rows = [(symbol, *_cells(each)) for symbol, each in sorted(accuracy.elements.items())]
        table("\nErrors of force components by element, meV/Å", ("element", *columns), rows)
    rows = [(name, accuracy.worst[name].where) for name, _ in quantities]
    table("\nLargest errors", ("quantity", "where"), rows)


def _show_committee(accuracy: Accuracy, committee: CommitteeAccuracy) -> None:
    """Errors of the members beside those of their mean, and how well their spread tells the latter."""
    from halocline.cli.tables import table
    from halocline.evaluation.accuracy import UNITS

    every = {**committee.members, "committee": accuracy}
    rows: list[tuple[str, ...]] = [
        (name, UNITS[name], model, *_cells(each.quantities[name])[1:4])
        for name in ("energy per atom", "forces", "stress")
        for model, each in every.items()
        if each.quantities[name].count
    ]
    table("\nErrors of the members", ("quantity", "unit", "model", "MAE", "RMSE", "largest"), rows)
    found = {name: each.table() for name, each in committee.calibrations.items()}
    columns = ("RMS spread", "RMSE", "RMSE/spread", "correlation", "of ranks")
    rows = [
        (name, UNITS[name], *map(_number, (each.spread, each.rmse)), *map(_plain, _agreement(each)))
        for name, each in found.items()
        if each.count
    ]
    table("\nSpread of the members beside errors of the committee", ("quantity", "unit", *columns), rows)


def _agreement(found: CalibrationTable) -> tuple[float | None, ...]:
    return found.scale, found.correlation, found.rank_correlation


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _cells(deviations: Deviations, *, vectors: bool = False) -> list[str]:
    """Errors of a quantity. Of the lengths of differences of vectors there are no labels."""
    errors = [_number(value) for value in (deviations.mae, deviations.rmse, deviations.largest)]
    r2 = "" if vectors or deviations.r2 is None else f"{deviations.r2:.5f}"
    return [str(deviations.count), *errors, r2, "" if vectors else _number(deviations.label_std)]


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if value == 0.0 or abs(value) >= 0.1 else f"{value:.2g}"


def _document(
    arguments: argparse.Namespace,
    potential: Potential,
    account: Account,
    reader: LabelReader,
    accuracy: Accuracy,
) -> dict[str, Any]:
    """All errors, and what they are of."""
    from dataclasses import asdict
    from importlib.metadata import version

    from halocline.evaluation.accuracy import UNITS, as_table
    from halocline.evaluation.frames import file_digests

    shifts = accuracy.shifts.fit()
    return {
        "model": model_name(arguments),
        "model_sha256": potential.digest(),
        "files": arguments.structures,
        "files_sha256": file_digests(arguments.structures),
        "options": evaluation_options(arguments) | {"prune": arguments.prune, "head": arguments.head},
        "versions": {name: version(name) for name in ("halocline", "torch", "ase", "numpy")},
        "frames": account.frames,
        "failed": account.failed,
        "labels": [asdict(count) for count in reader.counts()],
        "errors": {name: {"unit": UNITS[name], **as_table(each)} for name, each in accuracy.quantities.items()},
        "elements": {
            symbol: {"unit": UNITS["forces"], **as_table(each)} for symbol, each in accuracy.elements.items()
        },
        "largest": {name: asdict(each) for name, each in accuracy.worst.items() if each.where},
        "energy_shifts": None if shifts is None else asdict(shifts),
    }
