"""The loop: fit, score, choose, and again; its state is the files of its folder, one folder for each iteration."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from halocline.active.fit import complete, continued, fitted
from halocline.active.pool import Pool, gather
from halocline.active.recipe import make_active_recipe
from halocline.active.selection import Selection, kept_selection, select, write
from halocline.active.splits import PoolSplit
from halocline.active.wanted import LABELLED_FILE, answered, ask, hold_answers
from halocline.data.frames import digest_of
from halocline.errors import TrainingError, UsageError
from halocline.files import write_atomically
from halocline.potential.combined import committee_of
from halocline.training.folder import MODEL_FILE, alone
from halocline.typed_table import differences

if TYPE_CHECKING:
    from halocline.active.recipe import ActiveRecipe
    from halocline.potential.potential import Potential
    from halocline.training.recipe import Recipe
    from halocline.training.run import TrainingRun

#: In the folder of a loop.
LOOP_FILE: Final = "active.json"
TABLE_FILE: Final = "iterations.csv"
END_FOLDER: Final = "end"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended.

    Attributes:
        selections: by the folder of each iteration that is done, and of the end where it is; in their order.
        waiting: the file that labels are waited for in; None if the loop has ended.
        best: which of these has the lowest errors on validation frames, the last without such frames; None until
            the loop has ended.
        models: files of that iteration's models, once the loop has ended.
    """

    selections: dict[str, Selection]
    waiting: Path | None = None
    best: str | None = None
    models: tuple[Path, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a caller does beside the loop.

    Attributes:
        completed: brings a training run to its end on a device, as `halocline.active.fit.complete` does.
        decided: called with the folder's name of an iteration that is done, and what was decided.
    """

    completed: Callable[[TrainingRun, str], None] = complete
    decided: Callable[[str, Selection], None] = lambda name, selection: None


def learn(
    recipe: ActiveRecipe, source: Path, folder: Path, *, device: str, resume: bool, hooks: Hooks | None = None
) -> Outcome:
    """Run the loop as far as it goes.

    Args:
        recipe: of the loop.
        source: to which the paths of its files are relative.
        folder: of the loop, made if it is missing.
        device: as for `halocline.training.device.make_fabric`.
        resume: go on with what the folder holds.
        hooks: for the caller.

    Raises:
        UsageError: the folder holds a loop already, or that of another recipe.
        TrainingError: there is nothing to resume, the data differ, or a file cannot be written.
        HaloclineError: whatever reading data, training or evaluating raises.
    """
    with alone(folder):
        _refuse_another(recipe, folder, resume=resume)
        pool = gather(recipe, source, folder)
        _keep_identity(recipe, pool, folder, resume=resume)
        return _Loop(recipe, source, folder, device, pool, hooks or Hooks()).run()


class _Loop:
    """One call of `learn`, with all frames in memory."""

    def __init__(
        self, recipe: ActiveRecipe, source: Path, folder: Path, device: str, pool: Pool, hooks: Hooks
    ) -> None:
        self._recipe, self._source, self._folder, self._device = recipe, source, folder, device
        self._pool, self._hooks = pool, hooks
        self._further: list[tuple[str, int]] = []  # files of labels that came later, and how many frames they have
        self._answers: dict[str, str] = {}  # folder's name of the iteration that asked → digest of such a file
        self._selections: dict[str, Selection] = {}

    def run(self) -> Outcome:
        """Go through all iterations; those that are done only tell what came of them."""
        split, last = self._pool.split, self._recipe.active.iterations
        for number in range(last + 1):
            split = split.drawn(
                self._recipe.active.examine if number < last else 0, self._recipe.active.seed, number
            )
            selection = self._iterate(number, split)
            self._selections[self.folder(number).name] = selection
            self._write_table()
            self._hooks.decided(self.folder(number).name, selection)
            if number < last and (waiting := self._labels_missing(number, selection)):
                return Outcome(selections=self._selections, waiting=waiting)
            split = self._grown(split, number, selection)
        return self._ended()

    def folder(self, number: int) -> Path:
        """Of an iteration, or of the end."""
        name = END_FOLDER if number == self._recipe.active.iterations else f"iteration_{number:02d}"
        return self._folder / name

    def _iterate(self, number: int, split: PoolSplit) -> Selection:
        """Fit and choose, unless that is decided."""
        folder = self.folder(number)
        kept = kept_selection(folder)
        if self._answers:
            fitted_before = any(self._model(number, member).exists() for member in self._members)
            hold_answers(folder, self._answers, begun=fitted_before or kept is not None)
        if kept is not None:
            return kept
        parts = self._pool.by_file(split, self._further)
        data = parts.save(folder, self._recipe.training.data, self._source)
        members = [
            self._member(number, member, replace(self._recipe.training, data=data)) for member in self._members
        ]
        potential = members[0] if len(members) == 1 else committee_of(*members)
        precision = self._recipe.training.training.precision
        return select(
            potential, self._pool, split, self._recipe.active, folder, dtype=precision, device=self._device
        )

    @property
    def _members(self) -> range:
        return range(self._recipe.active.members)

    def _member(self, number: int, member: int, recipe: Recipe) -> Potential:
        """One model of an iteration: from the weights that it had in the iteration before."""
        recipe = replace(recipe, training=self._recipe.fit(number, member))
        if number:
            recipe = continued(recipe, self._named(self._model(number - 1, member)))
        elif recipe.model.from_ is None:  # elements of the pool, too: later iterations fit them
            config = recipe.model.config | {"species": list(self._pool.species)}
            recipe = replace(recipe, model=replace(recipe.model, config=config))
        folder = self._model(number, member).parent
        return fitted(recipe, self._source, folder, self._device, self._hooks.completed)

    def _model(self, number: int, member: int) -> Path:
        return self.folder(number) / f"member_{member}" / MODEL_FILE

    def _named(self, path: Path) -> str:
        """A file of the loop as recipes name it, so that both can be moved together."""
        return os.path.relpath(path, self._source)

    def _labels_missing(self, number: int, selection: Selection) -> Path | None:
        """Where labels are waited for; None where they are there or none are needed."""
        if self._recipe.active.labelled or not selection.chosen:
            return None
        folder, path = self.folder(number), self.folder(number) / LABELLED_FILE
        asked = [self._pool.atoms(frame) for frame in selection.chosen]
        count = answered(folder, asked)
        if count is None:
            ask(folder, asked, self._pool.taken)
            return path
        self._further.append((self._named(path), count))
        self._answers[folder.name] = digest_of(path)
        return None

    def _grown(self, split: PoolSplit, number: int, selection: Selection) -> PoolSplit:
        if self._recipe.active.labelled or not selection.chosen:
            return split.grown(selection.chosen)
        count = self._further[-1][1]
        known = sum(self._pool.lengths) + sum(length for _, length in self._further)
        return split.grown(selection.chosen, range(known - count, known))

    def _ended(self) -> Outcome:
        """Keep the best models where they are looked for."""
        errors = [selection.errors for selection in self._selections.values()]
        judged = [(error, number) for number, error in enumerate(errors) if error is not None]
        best = min(judged)[1] if judged else len(errors) - 1
        names = (
            [MODEL_FILE]
            if len(self._members) == 1
            else [f"model_{member}.safetensors" for member in self._members]
        )
        models = tuple(self._folder / name for name in names)
        try:
            for member, path in enumerate(models):
                write_atomically(path, self._model(best, member).read_bytes())
        except OSError as error:
            raise TrainingError(f"Cannot write into {self._folder}: {error.strerror or error}.") from error
        return Outcome(selections=self._selections, best=self.folder(best).name, models=models)

    def _write_table(self) -> None:
        """One line for each iteration that is done."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = {
            "train": "train",
            "examined": "examined",
            "errors": "errors",
            "mean": "mean",
            "std": "std",
            "cutoff": "cutoff",
            "test_energy": "test_energy_mae_meV_per_atom",
            "test_forces": "test_forces_mae_meV_per_A",
        }
        writer.writerow(["iteration", *names.values(), "added"])
        for name, selection in self._selections.items():
            values = [getattr(selection, attribute) for attribute in names]
            cells = ["" if value is None else repr(value) for value in values]
            writer.writerow([name, *cells, len(selection.chosen)])
        write(self._folder / TABLE_FILE, text.getvalue())


def _refuse_another(recipe: ActiveRecipe, folder: Path, *, resume: bool) -> None:
    """Before anything is read: the folder must hold this loop, or none."""
    path = folder / LOOP_FILE
    if resume != path.exists():
        if resume:
            raise TrainingError(f"There is no loop in {folder} to resume; leave out --resume to start one.")
        raise UsageError(f"{folder} holds a loop: continue it with --resume, or choose another --output.")
    if not resume:
        return
    earlier = make_active_recipe(_kept(path)["recipe"]).outcome()  # keys that are newer have their defaults
    changed = differences(earlier, recipe.outcome())
    if changed:
        raise UsageError(
            f"The loop in {folder} was started with another recipe: {'; '.join(changed)}. "
            "Restore it, or start a new loop in another --output."
        )


def _keep_identity(recipe: ActiveRecipe, pool: Pool, folder: Path, *, resume: bool) -> None:
    path = folder / LOOP_FILE
    if not resume:
        write(path, json.dumps({"recipe": recipe.outcome(), "data": pool.digest}, indent=1) + "\n")
    elif _kept(path)["data"] != pool.digest:
        raise TrainingError(
            f"The loop in {folder} was started with other structures or labels; restore the data files, or start "
            "a new loop in another --output."
        )


def _kept(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is damaged ({error}); start a new loop in another --output.") from error
    return table
