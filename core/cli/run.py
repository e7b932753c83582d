"""``halocline run``: evaluate structures."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.cli.account import Account
from halocline.cli.options import (
    add_format,
    add_model_options,
    evaluation_options,
    load_potential,
    say_replaced,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from halocline.evaluation.frames import EvaluatedFrame, Frame
    from halocline.evaluation.results import ResultFile
    from halocline.potential.potential import Potential
    from halocline.program.replacement import Replacement

_COLUMNS = ("file", "frame", "formula", "atoms", "E (eV)", "E/atom (eV)", "max |F| (eV/Å)", "p (GPa)")
#: That follow where the model is a committee.
_SPREAD_COLUMNS = ("± E (eV)", "max ± F (eV/Å)")
#: Rows of a table; more of them are several tables, each printed once it is full.
_ROWS = 1000
#: Who says the same of every frame.
_LOGGERS = ("halocline.structures.constraints", "halocline.structures.write")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "structures",
        nargs="+",
        metavar="STRUCTURES",
        help="files of any format that ASE reads; - is extxyz on stdin",
    )
    add_format(parser)
    add_model_options(parser, several=True)
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write results as they come: structures with them (.extxyz, .xyz, .db), or a line for each (.csv, "
        ".jsonl)",
    )
    start = group.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on with FILE, if it is there")
    start.add_argument("--overwrite", action="store_true", help="replace FILE")
    group.add_argument("--json", action="store_true", help="print all results, arrays included, as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate all frames of all files as they are read, many at a time; those that cannot be are named.

    Returns:
        0, or 1 if there were such frames.

    Raises:
        HaloclineError: an option is no good, a model or a file is not there, or results cannot be written.
    """
    from contextlib import closing, nullcontext

    from halocline.cli.output import progress, said_once, say
    from halocline.evaluation.frames import evaluate_frames, read_all
    from halocline.model.condition import check_head
    from halocline.program.replacement import kernels_of

    _check(arguments)
    potential = load_potential(arguments)
    check_head(potential.backbone.conditions, arguments.head)
    account = Account(arguments)
    bar = progress(None, "evaluating", "structures")
    evaluator = potential.evaluator(**evaluation_options(arguments))
    say_replaced(evaluator.replaced)
    kernels = kernels_of(evaluator.replaced)
    results = _result_file(arguments, potential, evaluator.replaced)
    show = _as_json() if arguments.json else _as_tables()
    try:
        with closing(evaluator), results or nullcontext(), said_once(*_LOGGERS), bar as advance, show as show_one:
            frames: Iterator[Frame] = read_all(arguments.structures, arguments.format)
            if results is not None:
                frames = results.rest(frames)
                _take_over(account, results)
                advance(results.kept)
            for evaluated in evaluate_frames(potential, evaluator, frames, arguments.head):
                numbers = _numbers(account, evaluated, kernels)
                if results is not None:
                    results.add(evaluated, numbers)
                if numbers is not None:
                    show_one(numbers)
                advance()
    except KeyboardInterrupt:
        if arguments.output is not None:
            say("halocline: stopped; the same command with --resume goes on.")
        raise
    return account.close()


def _check(arguments: argparse.Namespace) -> None:
    """Refuse files that cannot be read, and an output that cannot be written or would replace an input."""
    from halocline.errors import UsageError
    from halocline.evaluation.results import check_results
    from halocline.structures.read import check_source

    output = arguments.output
    if output is None:
        if arguments.resume or arguments.overwrite:
            raise UsageError("--resume and --overwrite are about a file of results; name it with --output.")
    elif any(Path(name).exists() and output.exists() and output.samefile(name) for name in arguments.structures):
        raise UsageError(f"--output {output} is one of the inputs; choose another name.")
    else:
        check_results(output, resume=arguments.resume, overwrite=arguments.overwrite)
    for name in arguments.structures:
        check_source(name, arguments.format)


def _result_file(
    arguments: argparse.Namespace, potential: Potential, replaced: tuple[Replacement, ...]
) -> ResultFile | None:
    """The file of results; what it holds follows from structures, model, dtype, backend and kernels alone."""
    from halocline.evaluation.results import ResultFile
    from halocline.potential.combined import tells_spread
    from halocline.program.replacement import identity_of

    if arguments.output is None:
        return None
    identity = {"model": potential.digest(), "head": arguments.head}
    identity |= {"dtype": arguments.dtype, "backend": arguments.backend, "compress": arguments.compress}
    identity |= identity_of(replaced)
    return ResultFile(
        arguments.output,
        identity,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        committee=tells_spread(potential.backbone),
    )


def _take_over(account: Account, results: ResultFile) -> None:
    """Count the frames that earlier calls have dealt with, too."""
    from halocline.cli.output import say

    account.frames, account.failed = results.kept, results.failed
    if results.kept:
        say(f"halocline: {results.path} has the first {results.kept} structures; going on.")


def _numbers(account: Account, evaluated: EvaluatedFrame, kernels: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The numbers of a frame, and the kernels that ran; or None, and a sentence was said."""
    from halocline.errors import NotFiniteError
    from halocline.evaluation.numbers import numbers_of

    result = account.result(evaluated)
    if result is None:
        return None
    try:
        return numbers_of(evaluated.frame, result) | {"kernels": kernels}
    except NotFiniteError as error:
        account.leave_out(error)
        return None


def _as_json() -> AbstractContextManager[Callable[[dict[str, Any]], None]]:
    from halocline.cli.output import json_list

    return json_list()


@contextmanager
def _as_tables() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show frames in tables of `_ROWS` rows, whatever ends the block."""
    from halocline.cli.tables import table

    rows: list[list[object]] = []

    def flush() -> None:
        if rows:
            table("", (_COLUMNS + _SPREAD_COLUMNS)[: len(rows[0])], rows)
        rows.clear()

    def show(numbers: dict[str, Any]) -> None:
        rows.append(_row(numbers))
        if len(rows) == _ROWS:
            flush()

    try:
        yield show
    except BrokenPipeError:  # nobody reads them
        raise
    except BaseException:
        flush()
        raise
    flush()


def _row(numbers: dict[str, Any]) -> list[object]:
    """The cells of the table; energies to 0.01 meV."""
    pressure = "" if numbers["pressure"] is None else f"{numbers['pressure']:.4f}"
    cells = [numbers[name] for name in ("file", "frame", "formula", "atoms")]
    decimals = (f"{numbers[name]:.5f}" for name in ("energy", "energy_per_atom", "max_force"))
    spread = [f"{numbers[name]:.5f}" for name in ("energy_std", "max_force_std") if name in numbers]
    return [*cells, *decimals, pressure, *spread]
