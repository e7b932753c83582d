"""``halocline train``: fit a model to energies and forces."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from halocline.cli.options import spec_help
from halocline.cli.output import emit_json, say
from halocline.cli.signals import held_back
from halocline.cli.tables import table
from halocline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from halocline.evaluator.result import Result
    from halocline.place import Place
    from halocline.training.errors import Errors
    from halocline.training.fit.fitter import MakeFitter
    from halocline.training.parent import Parent
    from halocline.training.problem import Problem
    from halocline.training.recipe import Recipe
    from halocline.training.run import EpochRecord, TrainingRun
    from halocline.training.team import Team

_LOG = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``halocline train``."""
    parser.add_argument("recipe", type=Path, help="TOML file with data, model, training and card")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder of the run [name of the recipe]")
    parser.add_argument("--resume", action="store_true", help="continue the run in that folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... [%(default)s]")
    fitters = spec_help("fitter")
    parser.add_argument("--backend", default="torch", metavar="SPEC", help=f"torch, or {fitters} [%(default)s]")
    parser.add_argument("--ranks", type=int, metavar="N", help="processes that share each step [1, or torchrun's]")
    parser.add_argument("--oversubscribe", action="store_true", help="allow more ranks than the cores can serve")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds to wait for a rank [%(default)g]"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="processor threads of each process [torch's choice]"
    )
    parser.add_argument("--json", action="store_true", help="write the result as JSON")
    parser.set_defaults(run=train)


def train(arguments: argparse.Namespace) -> int:
    """Run the command: as one rank, or by starting several that do.

    Raises:
        HaloclineError: an option, the recipe or its data are no good, or training had to stop.
    """
    from halocline.cli.ranks import LOST, STARTED, run_ranks
    from halocline.place import Place
    from halocline.training.fit.fitter import find_fitter
    from halocline.training.fit.trainer import refuse_idle_ranks
    from halocline.training.recipe import read_recipe
    from halocline.training.team import LostRankError

    place = Place.find(os.environ)
    _check(arguments, place)
    make_fitter = find_fitter(arguments.backend)
    if make_fitter is not None:
        _refuse_options_of_torch(arguments, place)
    recipe = read_recipe(arguments.recipe)
    refuse_idle_ranks(recipe.training, place.size if place else arguments.ranks or 1)
    if place is None and (arguments.ranks or 1) > 1:
        _refuse_crowd(arguments)
        return run_ranks(_words_of_rank(arguments), arguments.ranks, arguments.timeout)
    try:
        return _fit(arguments, recipe, place, make_fitter)
    except LostRankError:
        if STARTED not in os.environ:
            raise
        return LOST


def _check(arguments: argparse.Namespace, place: Place | None) -> None:
    """Refuse values that have no meaning."""
    for name in ("threads", "ranks"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, not {value}.")
    if not 0.0 < arguments.timeout < float("inf"):
        raise UsageError(f"--timeout must be a positive number of seconds, not {arguments.timeout:g}.")
    if place is not None and arguments.ranks is not None:
        raise UsageError(f"Leave out --ranks: torchrun has started {place.size} already.")


def _refuse_options_of_torch(arguments: argparse.Namespace, place: Place | None) -> None:
    """Backends with fitters of their own say by their own options where they run; torch validates on the CPU."""
    if arguments.device not in ("auto", "cpu"):
        raise UsageError(
            f"--device {arguments.device} is for torch; --backend {arguments.backend} says by its own options "
            "where it runs."
        )
    if place is not None or (arguments.ranks or 1) > 1:
        raise UsageError(f"Ranks share the steps of torch; --backend {arguments.backend} fits in one process.")
    arguments.device = "cpu"


def _refuse_crowd(arguments: argparse.Namespace) -> None:
    """CUDA devices are counted by the ranks themselves."""
    from halocline.place import refuse_crowd

    on_cores = arguments.device == "cpu" or (arguments.device == "auto" and not _has_cuda())
    if on_cores and not arguments.oversubscribe:
        refuse_crowd(arguments.ranks, "say --oversubscribe")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _words_of_rank(arguments: argparse.Namespace) -> list[str]:
    """The command of each rank that is started."""
    from halocline.place import threads_per_rank

    words = ["--debug"] if logging.getLogger("halocline").isEnabledFor(logging.DEBUG) else []
    words += ["train", str(arguments.recipe), "--output", str(_folder(arguments))]
    words += ["--device", arguments.device, "--timeout", str(arguments.timeout)]
    words += ["--threads", str(arguments.threads or threads_per_rank(arguments.ranks))]
    words += ["--resume"] if arguments.resume else []
    return words + (["--json"] if arguments.json else [])


def _folder(arguments: argparse.Namespace) -> Path:
    return arguments.output or Path(arguments.recipe.stem)


def _fit(
    arguments: argparse.Namespace, recipe: Recipe, place: Place | None, make_fitter: MakeFitter | None
) -> int:
    """Train as the only rank, or as one of several, of which the first writes and keeps others off the folder."""
    from contextlib import nullcontext

    from halocline.training.folder import claimed

    writes = place is None or place.rank == 0
    with claimed(_folder(arguments)) if writes else nullcontext():
        return _fit_in_folder(arguments, recipe, place, make_fitter)


def _fit_in_folder(
    arguments: argparse.Namespace, recipe: Recipe, place: Place | None, make_fitter: MakeFitter | None
) -> int:
    import torch

    from halocline.errors import within
    from halocline.files import newest
    from halocline.training.device import make_fabric
    from halocline.training.problem import prepare
    from halocline.training.result import refuse_unwritable
    from halocline.training.run import TrainingRun
    from halocline.training.state import STATE_FILE
    from halocline.training.team import make_team

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    fabric = make_fabric(arguments.device, recipe.training.precision, place)
    team = make_team(place, fabric.device, arguments.timeout)
    with within(str(arguments.recipe)):
        problem = prepare(recipe, arguments.recipe.parent)
    folder = _folder(arguments)
    restarted = place is not None and place.restarts > 0 and newest(folder / STATE_FILE) is not None
    if team.is_first:
        _say_data(problem)
        refuse_unwritable(problem)
    resume = arguments.resume or restarted
    run = TrainingRun(problem, folder, fabric, resume=resume, team=team, make_fitter=make_fitter)
    if team.is_first and resume:
        say(f"Resuming after epoch {len(run.history)}.")
    _train(run, team)
    return _finish(run, str(fabric.device), arguments.json) if team.is_first else 0


def _train(run: TrainingRun, team: Team) -> None:
    """Run the epochs; say what is kept if they are interrupted."""
    try:
        if team.size == 1:
            _run_epochs(run, lambda: False)
            return
        with held_back() as interruption:  # so that no rank waits for one that has stopped within a step
            if team.is_first:
                _run_epochs(run, lambda: bool(interruption))
            else:
                run.train(lambda record: None, lambda: bool(interruption))
        team.leave()
    except KeyboardInterrupt:
        if team.is_first:
            say(
                f"Stopped; the state after epoch {len(run.history)} is kept in {run.folder}. "
                "Continue with --resume."
            )
        raise


def _run_epochs(run: TrainingRun, interrupted: Callable[[], bool]) -> None:
    """As the rank that tells of them."""
    from halocline.cli.train_report import watched

    with watched(run, Reporter(run)) as (report, advance):

        def at_step() -> bool:
            advance()
            return interrupted()

        run.train(report, at_step)


def _say_which(run: TrainingRun) -> None:
    """Say if the model is not that of the last epoch of the recipe."""
    settings, done = run.problem.recipe.training, len(run.history)
    metric = settings.stopping.metric
    if done < settings.epochs:
        say(f"Stopped after epoch {done}: {metric} has not been lower since epoch {run.best_epoch}.")
    if settings.stopping.keep == "best":
        say(f"The model is that of epoch {run.model_epoch}, in which {metric} was lowest.")


def _finish(run: TrainingRun, device: str, as_json: bool) -> int:
    """Measure, write and draw the model."""
    from halocline.cli.train_report import draw
    from halocline.evaluation.accuracy import Accuracy
    from halocline.training.folder import MODEL_FILE
    from halocline.training.result import finish

    _say_which(run)
    problem, accuracy = run.problem, Accuracy(run.problem.backbone.species)

    def take(frame: int, result: Result) -> None:
        accuracy.add(problem.frames[frame], problem.labels[frame], result)

    potential, errors = finish(run, device, take)
    path = run.folder / MODEL_FILE
    potential.save(path)
    say(f"Wrote {path}.")
    draw(run, accuracy)
    if as_json:
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
    say(f"frames   {sets}; {problem.graphs.edges} edges")
    if problem.duplicates:
        say(f"frames   {sum(map(len, problem.duplicates))} are duplicates, in {len(problem.duplicates)} groups")
    if not problem.split.validation:
        say("frames   nothing is validated: the losses shown are those of the frames that are fitted")
    if problem.teacher is not None:
        say(
            f"teacher  {problem.teacher.name}, asked of {len(problem.taught)} frames, "
            f"SHA-256 {problem.teacher.digest}"
        )
    energies = problem.reference_energies
    references = ", ".join(f"{symbol} {energies[symbol]:.4f}" for symbol in problem.elements)
    note = "" if problem.references_determined else " (not determined by these compositions)"
    say(f"reference energies, eV: {references}{note}")
    weights = sum(p.numel() for p in problem.backbone.parameters())
    say(f"model    {problem.backbone.name}, {weights} weights")
    if problem.origin is not None:
        _say_parent(problem.origin, problem.recipe)


def _say_parent(parent: Parent, recipe: Recipe) -> None:
    """Show what the fit starts from, and what its licence asks for."""
    from halocline.training.parent import licence_remark

    before, now = len(parent.potential.backbone.layers), len(parent.start.layers)
    layers = f", {now} of its {before} layers" if now < before else ""
    new = f", with {', '.join(recipe.model.new_elements)}" if recipe.model.new_elements else ""
    say(f"from     {parent.name}{layers}{new}, SHA-256 {parent.digest}")
    if remark := licence_remark(recipe.card, parent):
        _LOG.warning("%s", remark)


class Reporter:
    """Prints one line for each epoch, with the time that is left."""

    def __init__(self, run: TrainingRun) -> None:
        self._first, self._epochs = len(run.history), run.problem.recipe.training.epochs
        self._validated = bool(run.problem.split.validation)
        self._seconds = 0.0

    def __call__(self, record: EpochRecord) -> None:
        """Say what is known of an epoch."""
        self._seconds += record.seconds
        left = self._seconds / (record.epoch - self._first) * (self._epochs - record.epoch)
        validation = _validation(record) if self._validated else "not validated"
        say(
            f"epoch {record.epoch}/{self._epochs}  loss {record.loss:.5f}  {validation}  "
            f"{record.seconds:.1f} s, {_duration(left)} left"
        )


def _validation(record: EpochRecord) -> str:
    energy, forces = _number(record.energy_mae), _number(record.forces_mae)
    stress = "" if record.stress_mae is None else f", stress {_number(record.stress_mae)} meV/Å³"
    return f"validation: energy {energy} meV/atom, forces {forces} meV/Å{stress}"


def _show(errors: Errors) -> None:
    columns = ["quantity", "unit", "MAE", "RMSE", "std of labels"]
    energy = ["energy", "meV/atom", errors.energy_mae, errors.energy_rmse, errors.energy_std]
    forces = ["forces", "meV/Å", errors.forces_mae, errors.forces_rmse, errors.forces_std]
    stress = ["stress", "meV/Å³", errors.stress_mae, errors.stress_rmse, errors.stress_std]
    shown = [energy, forces] if errors.stress_mae is None else [energy, forces, stress]
    rows = [[cell if isinstance(cell, str) else _number(cell) for cell in row] for row in shown]
    table(f"Errors on {errors.frames} test frames", columns, rows)
    say(f"mean magnitude of a reference force component: {_number(errors.forces_mean)} meV/Å")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60.0), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
