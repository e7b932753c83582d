"""``halocline profile``: where the time of an evaluation, or of a step of dynamics, goes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.cli.options import (
    add_format,
    add_model_options,
    default_explained,
    evaluation_options,
    load_potential,
    located,
    model_name,
)
from halocline.cli.profile_evaluation import REPEATS, profile_structure, show_replaced

if TYPE_CHECKING:
    from halocline.bench.step_shares import StepShares

#: Steps of dynamics that are counted, unless told otherwise.
STEPS = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.usage = "%(prog)s [MODEL] STRUCTURE [options]\n       %(prog)s --md FILE [options]"
    group = parser.add_argument_group("one evaluation, by stage and kind of work")
    group.add_argument("words", nargs="*", metavar="MODEL STRUCTURE", help="the model, as -m takes it, and a file")
    group.add_argument(
        "--sizes", metavar="N,N,…", help="repeat the structure to about so many atoms, and see how costs grow"
    )
    group.add_argument("--repeats", type=int, metavar="N", help=f"evaluations to time [{REPEATS}]")
    group.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the stages, and how they grow")
    group = parser.add_argument_group("steps of dynamics, by section")
    group.add_argument(
        "--md", metavar="FILE", help="start from its last frame: nvt at 300 K, recorded as halocline md records"
    )
    group.add_argument("--steps", type=int, metavar="N", help=f"to count [{STEPS}]")
    add_format(parser)
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Profile what the words ask for.

    Raises:
        HaloclineError: the call or an input is no good, or a run had to stop.
    """
    from halocline.errors import UsageError

    of_one = [name for name in ("sizes", "repeats", "plot") if getattr(arguments, name) is not None]
    if arguments.md is not None:
        if arguments.words or of_one:
            what = " ".join(arguments.words) or f"--{of_one[0]}"
            raise UsageError(f"--md profiles dynamics, and {what} belongs to one evaluation; leave one away.")
        return _profile_steps(arguments)
    if not 1 <= len(arguments.words) <= 2:
        raise UsageError("Give a model and a structure, such as MODEL FILE; or --md FILE for steps of dynamics.")
    if arguments.steps is not None:
        raise UsageError("--steps counts steps of --md FILE; one evaluation has --repeats.")
    *models, arguments.structure = arguments.words
    if models and arguments.model is not None:
        raise UsageError(f"The model is named twice, {models[0]} and {arguments.model}; leave -m away.")
    arguments.model = models[0] if models else arguments.model
    return profile_structure(arguments)


def _profile_steps(arguments: argparse.Namespace) -> int:
    """Run dynamics, and print what each section of a step takes."""
    from contextlib import closing
    from dataclasses import asdict

    from halocline.bench.step_shares import step_shares
    from halocline.cli.output import emit_json
    from halocline.dynamics import Settings
    from halocline.errors import UsageError
    from halocline.structures.read import read_frames

    steps = STEPS if arguments.steps is None else arguments.steps
    if steps < 1:
        raise UsageError(f"--steps must be at least 1, not {steps}.")
    atoms = read_frames(arguments.md, arguments.format)[-1]
    settings = Settings()
    calculator = load_potential(arguments).calculator(**evaluation_options(arguments), head=arguments.head)
    replaced = calculator.replaced
    with closing(calculator), default_explained(arguments), located(arguments.md):
        shares = step_shares(atoms, calculator, settings, steps)
    if arguments.json:
        more = {"settings": settings.as_options(), "replaced": [asdict(each) for each in replaced]}
        emit_json(_report(arguments, shares, len(atoms)) | more)
    else:
        _show(shares, len(atoms))
        show_replaced(replaced)
    return 0


def _report(arguments: argparse.Namespace, shares: StepShares, atoms: int) -> dict[str, Any]:
    """Everything, and what it has to be read with."""
    from importlib.metadata import version

    import torch

    from halocline.doctor import describe_machine

    return {
        "machine": describe_machine(),
        "versions": {name: version(name) for name in ("torch", "numpy", "ase")},
        "threads": torch.get_num_threads(),
        "model": model_name(arguments),
        "prune": arguments.prune,
        "evaluation": evaluation_options(arguments),
        "structure": arguments.md,
        "atoms": atoms,
        "steps": shares.steps,
        "searches": shares.searches,
        "step": shares.of_step(atoms),
        "sections": shares.by_section(atoms),
    }


def _show(shares: StepShares, atoms: int) -> None:
    """The sections that took any time, in the order of a step, and the whole."""
    from halocline.cli.output import emit
    from halocline.cli.tables import table
    from halocline.shares import OTHER, SECTIONS

    meaning = SECTIONS | {OTHER: "what is in none of them"}
    sections = shares.by_section(atoms)
    rows = [
        (name, f"{100 * row['share']:.1f}", *_numbers(row), meaning[name])
        for name, row in sections.items()
        if shares.shares.calls[name] or name == OTHER
    ]
    rows.append(
        (
            "step",
            f"{100 * sum(row['share'] for row in sections.values()):.1f}",
            *_numbers(shares.of_step(atoms)),
            "",
        )
    )
    table("", ("section", "%", "ms", "CPU ms", "µs/atom", "what it is"), rows)
    emit(f"\n{atoms} atoms; means of {shares.steps} steps, with {shares.searches} searches for neighbours.")


def _numbers(row: dict[str, float]) -> tuple[str, str, str]:
    return f"{row['ms']:.4f}", f"{row['cpu_ms']:.4f}", f"{row['us_per_atom']:.3f}"
