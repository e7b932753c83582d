"""``halocline train``: fit a model to energies and forces."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from halocline.cli.output import emit_json, say, table
from halocline.errors import UsageError

if TYPE_CHECKING:
    from halocline.training.errors import Errors
    from halocline.training.problem import Problem
    from halocline.training.run import EpochRecord, Run


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``halocline train``."""
    parser.add_argument("recipe", type=Path, help="TOML file with data, model, training and card")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder of the run [name of the recipe]")
    parser.add_argument("--resume", action="store_true", help="continue the run in that folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... [%(default)s]")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads [torch's choice]")
    parser.add_argument("--json", action="store_true", help="write the result as JSON")
    parser.set_defaults(run=train)


def train(arguments: argparse.Namespace) -> int:
    """Run the command."""
    import torch

    from halocline.training.device import make_fabric
    from halocline.training.problem import prepare
    from halocline.training.recipe import read_recipe
    from halocline.training.result import finish
    from halocline.training.run import Run

    recipe = read_recipe(arguments.recipe)
    if arguments.threads is not None:
        if arguments.threads < 1:
            raise UsageError(f"--threads must be at least 1, not {arguments.threads}.")
        torch.set_num_threads(arguments.threads)
    fabric = make_fabric(arguments.device, recipe.training.precision)
    problem = prepare(recipe, arguments.recipe.parent)
    _say_data(problem)
    folder = arguments.output or Path(arguments.recipe.stem)
    run = Run(problem, folder, fabric, resume=arguments.resume)
    if arguments.resume:
        say(f"Resuming after epoch {len(run.history)}.")
    try:
        run.train(_Reporter(run))
    except KeyboardInterrupt:
        say(f"Stopped; the state after epoch {len(run.history)} is kept in {folder}. Continue with --resume.")
        raise
    potential, errors = finish(run, str(fabric.device))
    path = folder / "model.safetensors"
    potential.save(path)
    say(f"Wrote {path}.")
    if arguments.json:
        test = None if errors is None else errors.as_table()
        emit_json({"model": path, "epochs": len(run.history), "test": test})
    elif errors is not None:
        _show(errors)
    return 0


def _say_data(problem: Problem) -> None:
    """Show which labels were read, and what they are used for."""
    for count in problem.counts:
        say(f"{count.label:<8} from key {count.key!r}: {count.frames} of {count.total} frames")
    sets = ", ".join(f"{len(frames)} {name}" for name, frames in problem.split.purposes().items())
    say(f"frames   {sets}; {sum(len(graph.edges) for graph in problem.graphs.values())} edges")
    references = ", ".join(f"{symbol} {energy:.4f}" for symbol, energy in problem.reference_energies.items())
    note = "" if problem.references_determined else " (not determined by these compositions)"
    say(f"reference energies, eV: {references}{note}")
    weights = sum(p.numel() for p in problem.backbone.parameters())
    say(f"model    {problem.backbone.name}, {weights} weights")


class _Reporter:
    """Prints one line for each epoch, with the time that is left."""

    def __init__(self, run: Run) -> None:
        self._first, self._epochs = len(run.history), run.problem.recipe.training.epochs
        self._seconds = 0.0

    def __call__(self, record: EpochRecord) -> None:
        self._seconds += record.seconds
        left = self._seconds / (record.epoch - self._first) * (self._epochs - record.epoch)
        say(
            f"epoch {record.epoch}/{self._epochs}  loss {record.loss:.5f}  validation: "
            f"energy {_number(record.energy_mae)} meV/atom, forces {_number(record.forces_mae)} meV/Å  "
            f"{record.seconds:.1f} s, {_duration(left)} left"
        )


def _show(errors: Errors) -> None:
    columns = ["quantity", "unit", "MAE", "RMSE", "std of labels"]
    energy = ["energy", "meV/atom", errors.energy_mae, errors.energy_rmse, errors.energy_std]
    forces = ["forces", "meV/Å", errors.forces_mae, errors.forces_rmse, errors.forces_std]
    rows = [[cell if isinstance(cell, str) else _number(cell) for cell in row] for row in (energy, forces)]
    table(f"Errors on {errors.frames} test frames", columns, rows)
    say(f"mean magnitude of a reference force component: {_number(errors.forces_mean)} meV/Å")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60.0), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
