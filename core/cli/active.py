"""``halocline active``: let a training set grow by what its model needs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from halocline.cli.output import emit_json, say
from halocline.cli.tables import table
from halocline.errors import UsageError

if TYPE_CHECKING:
    from halocline.active.run import Outcome
    from halocline.active.selection import Selection
    from halocline.evaluator.result import Result
    from halocline.training.run import TrainingRun


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``halocline active``."""
    parser.add_argument("recipe", type=Path, help="TOML file: a recipe of training with a table [active]")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder of the loop [name of the recipe]")
    parser.add_argument("--resume", action="store_true", help="continue the loop in that folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... [%(default)s]")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads [torch's choice]")
    parser.add_argument("--json", action="store_true", help="write the result as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        HaloclineError: an option, the recipe or its data are no good, or training had to stop.
    """
    if arguments.threads is not None and arguments.threads < 1:
        raise UsageError(f"--threads must be at least 1, not {arguments.threads}.")
    import torch

    from halocline.active.recipe import read_active_recipe
    from halocline.active.run import Hooks, learn

    recipe = read_active_recipe(arguments.recipe)
    folder = arguments.output or Path(arguments.recipe.stem)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    try:
        outcome = learn(
            recipe,
            arguments.recipe.parent,
            folder,
            device=arguments.device,
            resume=arguments.resume,
            hooks=Hooks(completed=_complete, decided=_say_iteration),
        )
    except KeyboardInterrupt:
        say(f"Stopped; what was done is kept in {folder}. Continue with --resume.")
        raise
    _report(outcome, folder, as_json=arguments.json)
    return 0


def _complete(training: TrainingRun, device: str) -> None:
    """Bring a fit to its end as ``halocline train`` does, with its logs and figures."""
    from halocline.cli.train import Reporter
    from halocline.cli.train_report import draw, watched
    from halocline.evaluation.accuracy import Accuracy
    from halocline.training.folder import MODEL_FILE
    from halocline.training.result import finish

    problem, accuracy = training.problem, Accuracy(training.problem.backbone.species)
    say(f"{training.folder}: {len(problem.split.train)} frames, {len(training.history)} epochs done")
    with watched(training, Reporter(training)) as (report, advance):

        def at_step() -> bool:
            advance()
            return False

        training.train(report, at_step)

    def take(frame: int, result: Result) -> None:
        accuracy.add(problem.frames[frame], problem.labels[frame], result)

    potential, _ = finish(training, device, take)
    draw(training, accuracy)
    potential.save(training.folder / MODEL_FILE)  # the last: whoever finds it takes the fit for done


def _say_iteration(name: str, selection: Selection) -> None:
    parts = [f"{name}: {selection.train} frames fitted"]
    if selection.errors is not None:
        parts.append(f"validation score {selection.errors:.4g}")
    if selection.cutoff is not None:
        share = f"{len(selection.chosen)} of {selection.examined} examined frames"
        parts.append(f"{share} added, cutoff {selection.cutoff:.4g}")
    say(", ".join(parts))


def _report(outcome: Outcome, folder: Path, *, as_json: bool) -> None:
    """Tell what came of the loop, or what it waits for."""
    from halocline.active.wanted import WANTED_FILE

    if as_json:
        emit_json(
            {
                "iterations": {name: _as_row(each) for name, each in outcome.selections.items()},
                "waiting": outcome.waiting,
                "best": outcome.best,
                "models": list(outcome.models),
            }
        )
    else:
        rows = [[name, *map(_cell, _as_row(each).values())] for name, each in outcome.selections.items()]
        table("", ["", *_COLUMNS], rows)
    if outcome.waiting is not None:
        count = len(outcome.selections[outcome.waiting.parent.name].chosen)
        wanted = outcome.waiting.with_name(WANTED_FILE)
        say(f"Label the {count} frames of {wanted}")
        say(f"into {outcome.waiting}, in their order, and continue with --resume.")
    for path in outcome.models:
        say(f"Wrote {path}, of {outcome.best}, the best on validation frames.")


_COLUMNS = ("train", "examined", "validation score", "cutoff", "added", "test E, meV/atom", "test F, meV/Å")


def _as_row(selection: Selection) -> dict[str, object]:
    """An iteration, by the names of JSON."""
    return {
        "train": selection.train,
        "examined": selection.examined,
        "validation_score": selection.errors,
        "cutoff": selection.cutoff,
        "added": len(selection.chosen),
        "test_energy_mae_meV_per_atom": selection.test_energy,
        "test_forces_mae_meV_per_A": selection.test_forces,
    }


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
