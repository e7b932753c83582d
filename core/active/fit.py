"""One fit of an iteration: a training run in a folder of its own, which goes on by itself after any end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from halocline.active.wanted import LABELLED_FILE
from halocline.errors import TrainingError, within
from halocline.files import newest
from halocline.potential.load import load
from halocline.training.device import make_fabric
from halocline.training.folder import MODEL_FILE, claimed
from halocline.training.problem import Problem, prepare
from halocline.training.recipe import Recipe, ReferenceSettings
from halocline.training.result import finish, refuse_unwritable
from halocline.training.run import EpochRecord, TrainingRun
from halocline.training.state import STATE_FILE

if TYPE_CHECKING:
    from halocline.potential.potential import Potential


def complete(run: TrainingRun, device: str, report: Callable[[EpochRecord], None] = lambda record: None) -> None:
    """Run the epochs that are left, and write the model, without a word.

    Args:
        run: a fit.
        device: where to evaluate test frames.
        report: takes what is known of an epoch.
    """
    run.train(report)
    finish(run, device)[0].save(run.folder / MODEL_FILE)


def fitted(
    recipe: Recipe, source: Path, folder: Path, device: str, completed: Callable[[TrainingRun, str], None]
) -> Potential:
    """The model of a recipe, fitted as far as it is not.

    It is read from its file, whether or not this process has written it, so that what follows has the same bits.

    Args:
        recipe: of training.
        source: to which the paths of its data files are relative.
        folder: of the run.
        device: as for `make_fabric`.
        completed: brings a run to its end, as `complete` does.

    Raises:
        HaloclineError: as training does.
    """
    path = folder / MODEL_FILE
    if not path.exists():
        with within(str(folder)), claimed(folder):
            problem = prepare(recipe, source)
            refuse_unwritable(problem)
            _refuse_unanswered(problem)
            fabric = make_fabric(device, recipe.training.precision)
            run = TrainingRun(problem, folder, fabric, resume=newest(folder / STATE_FILE) is not None)
            completed(run, str(fabric.device))
    return load(path)


def continued(recipe: Recipe, parent: str) -> Recipe:
    """The recipe that starts from a model that was fitted before, and is that model in all else.

    Args:
        recipe: of the first fit.
        parent: the file of the model.
    """
    first, distillation = recipe.model, recipe.distillation
    if distillation is not None and distillation.teacher is None:  # which the first fit started from
        distillation = replace(distillation, teacher=first.from_, head=first.head)
    model = replace(
        replace(first, from_=parent, backbone=None, config={}),
        head=None,
        energies_of_atoms=False,
        prune=None,
        new_elements=(),
    )
    references = ReferenceSettings(kind="keep")
    return replace(recipe, model=model, references=references, distillation=distillation)


def _refuse_unanswered(problem: Problem) -> None:
    """Frames that came back to be fitted must have brought a label, under the name that all files have for it."""
    for i in problem.split.train:
        frame, labels = problem.frames[i], problem.labels[i]
        if frame.file.name == LABELLED_FILE and labels.energy is None and labels.forces is None:
            names = " and ".join(count.key for count in problem.counts)
            raise TrainingError(f"{frame} in {frame.file.parent} has no label; give it {names}, or leave it out.")
