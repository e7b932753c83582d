"""The cheapest pruned model within an error budget, after a fine-tuning of each.

Every candidate is a training run of its own by one recipe: the unpruned model, each smaller number of layers, and
what further pruners leave of the cheapest depth that is good enough. Each keeps its state in its own folder, so
that a search goes on where it was interrupted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from halocline.errors import UsageError, within
from halocline.files import newest
from halocline.model.pruner import pruned
from halocline.program import Precision
from halocline.training.errors import Errors
from halocline.training.folder import MODEL_FILE, claimed
from halocline.training.problem import Problem, prepare
from halocline.training.pruning.budget import Budget
from halocline.training.pruning.costs import Costs, measure_costs
from halocline.training.recipe import Recipe, resolve
from halocline.training.result import finish, frame_errors
from halocline.training.run import EpochRecord, TrainingRun
from halocline.training.state import STATE_FILE

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from halocline.potential.potential import Potential

#: Name of the unpruned model in tables.
UNPRUNED: Final = "unpruned"

#: About so many validation frames are looked at for sizes and densities.
LOOKED_AT: Final = 50


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A candidate after its fine-tuning.

    Attributes:
        prune: what was left of the parent, as a recipe says it; None of the unpruned one.
        folder: of its training run, which holds the model.
        potential: the model.
        validation: errors on the validation frames, by which candidates are chosen.
        test: errors on the test frames, by which none is; None without any.
    """

    prune: str | None
    folder: Path
    potential: Potential
    validation: Errors
    test: Errors | None

    @property
    def name(self) -> str:
        """For tables."""
        return self.prune or UNPRUNED

    @property
    def model(self) -> Path:
        """The file of the model."""
        return self.folder / MODEL_FILE


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search has found.

    Attributes:
        budgets: all of which must hold.
        candidates: in the order in which they were fitted, the unpruned one first.
        costs: of each.
        chosen: the cheapest that is within the budgets; None if none is.
    """

    budgets: tuple[Budget, ...]
    candidates: tuple[Fitted, ...]
    costs: tuple[Costs, ...]
    chosen: Fitted | None

    def within(self, candidate: Fitted) -> bool:
        """Whether a candidate is within the budgets."""
        return is_within(self.budgets, candidate, self.candidates[0])


def is_within(budgets: Sequence[Budget], candidate: Fitted, unpruned: Fitted) -> bool:
    """Whether the validation errors of a candidate are small enough."""
    return all(budget.holds(candidate.validation, unpruned.validation) for budget in budgets)


@final
class Search:
    """Fits candidates, and chooses among them.

    Args:
        recipe: of each fit; its model starts from one that there is, without pruning.
        place: to which paths of the recipe are relative.
        folder: of the search.
        fabric: see `TrainingRun`.
        device: where to evaluate.
        report: is told of each epoch, with the name of the candidate.

    Raises:
        UsageError: the recipe starts from no model, or prunes it itself, or validates nothing.
    """

    def __init__(
        self,
        recipe: Recipe,
        place: Path,
        folder: Path,
        fabric: Fabric,
        device: str,
        report: Callable[[str, EpochRecord], None],
    ) -> None:
        if recipe.model.from_ is None:
            raise UsageError("The recipe trains new weights; name the model to prune in model.from.")
        if recipe.model.prune is not None:
            raise UsageError(
                f"model.prune is {recipe.model.prune!r}, but it is for the search to prune; leave it out."
            )
        self._recipe, self._place, self._folder = recipe, place, folder
        self._fabric, self._device, self._report = fabric, device, report

    def run(self, budgets: Sequence[Budget], further: Sequence[str], *, resume: bool) -> Outcome:
        """Fit all candidates that are not fitted yet, measure them, and choose.

        Args:
            budgets: at least one.
            further: pruners, as in a recipe, to which their files are relative; each is tried on the cheapest
                depth within the budgets.
            resume: go on with the runs that are there.

        Raises:
            UsageError: there are runs already and they are not to be resumed, or a budget cannot be checked.
            TrainingError: a fit cannot be made or resumed.
        """
        problem = self._prepare(None)
        for text in further:
            pruned(copy.deepcopy(problem.backbone), text, self._file)  # before anything is fitted
        if not problem.split.validation:
            raise UsageError("The recipe validates nothing, and a budget is about errors on validation frames.")
        first = self._fit(problem, None, resume=resume)
        for budget in budgets:
            budget.error(first.validation)  # before more is fitted
        layers = len(first.potential.backbone.layers)
        fitted = [first, *(self._candidate(str(k), resume=resume) for k in range(layers - 1, 0, -1))]
        good = [each for each in fitted if is_within(budgets, each, first)]
        if good:
            depth = min(good, key=lambda each: len(each.potential.backbone.layers)).prune
            texts = [text if depth is None else f"{depth}+{text}" for text in dict.fromkeys(further)]
            fitted += [self._candidate(text, resume=resume) for text in texts]
        return self._outcome(problem, budgets, fitted)

    def _file(self, name: str) -> Path:
        return resolve(name, self._place)

    def _candidate(self, prune: str, *, resume: bool) -> Fitted:
        return self._fit(self._prepare(prune), prune, resume=resume)

    def _prepare(self, prune: str | None) -> Problem:
        recipe = replace(self._recipe, model=replace(self._recipe.model, prune=prune))
        with within(prune or UNPRUNED):
            return prepare(recipe, self._place)

    def _fit(self, problem: Problem, prune: str | None, *, resume: bool) -> Fitted:
        name = prune or UNPRUNED
        folder = self._folder / folder_name(name)
        with claimed(folder):
            started = newest(folder / STATE_FILE) is not None
            run = TrainingRun(problem, folder, self._fabric, resume=resume and started)
            run.train(lambda record: self._report(name, record))
            potential, test = finish(run, self._device)
            potential.save(folder / MODEL_FILE)
        validation = frame_errors(potential, problem, problem.split.validation, self._device)
        return Fitted(prune=prune, folder=folder, potential=potential, validation=validation, test=test)

    def _outcome(self, problem: Problem, budgets: Sequence[Budget], fitted: Sequence[Fitted]) -> Outcome:
        validation = problem.split.validation
        frames = validation[:: max(1, len(validation) // LOOKED_AT)]
        largest = max((problem.frames[i].atoms for i in frames), key=len)
        costs = measure_costs(
            [each.potential for each in fitted],
            largest,
            [problem.graphs[i] for i in frames],
            Precision(problem.recipe.training.precision),
            self._device,
        )
        good = [
            (cost.time_ratio, number)
            for number, (each, cost) in enumerate(zip(fitted, costs, strict=True))
            if is_within(budgets, each, fitted[0])
        ]
        chosen = fitted[min(good)[1]] if good else None
        return Outcome(tuple(budgets), tuple(fitted), tuple(costs), chosen)


def folder_name(name: str) -> str:
    """The folder of a candidate: its name without characters that paths have a use for."""
    return "".join(character if character.isalnum() or character in "-+.=," else "_" for character in name)
