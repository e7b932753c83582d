"""What an iteration makes of the frames that it examines, kept so that it is decided once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from halocline.active.score import chosen, cutoff_of
from halocline.active.scorer import Score, Scorer
from halocline.errors import TrainingError
from halocline.files import write_atomically

if TYPE_CHECKING:
    from halocline.active.pool import Pool
    from halocline.active.settings import ActiveSettings
    from halocline.active.splits import PoolSplit
    from halocline.potential.potential import Potential

#: In the folder of an iteration.
SELECTION_FILE: Final = "selection.json"
SCORES_FILE: Final = "scores.csv"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The decision of an iteration.

    Attributes:
        train: frames that its models were fitted to.
        examined: frames of the pool that were scored.
        errors: mean score of the validation frames by their labels; None without such frames.
        mean: of the scores of the validation frames by the criterion; None without.
        std: their standard deviation.
        cutoff: the least score that is added; None where nothing was to be chosen.
        test_energy: meV/atom, mean absolute error on the test frames; None without.
        test_forces: meV/Å, likewise, of components.
        chosen: numbers of the frames that are added, the highest score first.
    """

    train: int
    examined: int = 0
    errors: float | None = None
    mean: float | None = None
    std: float | None = None
    cutoff: float | None = None
    test_energy: float | None = None
    test_forces: float | None = None
    chosen: tuple[int, ...] = field(default=())

    def save(self, folder: Path) -> None:
        """Write it into the folder of its iteration, whole or not at all.

        Raises:
            TrainingError: it cannot be written.
        """
        write(folder / SELECTION_FILE, json.dumps(asdict(self), indent=1) + "\n")


def kept_selection(folder: Path) -> Selection | None:
    """The decision that is kept in a folder; None if there is none.

    Raises:
        TrainingError: it is damaged.
    """
    path = folder / SELECTION_FILE
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Selection(**table | {"chosen": tuple(table["chosen"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{path} is damaged ({error}); remove it to have the frames scored again.") from error


def select(
    potential: Potential,
    pool: Pool,
    split: PoolSplit,
    settings: ActiveSettings,
    folder: Path,
    dtype: str,
    device: str,
) -> Selection:
    """Score the examined frames, decide, and keep the decision and the scores.

    Args:
        potential: of the iteration; a committee where the criterion is their spread.
        pool: all frames.
        split: of the iteration.
        settings: of the loop.
        folder: of the iteration.
        dtype: to evaluate in.
        device: to evaluate on.

    Raises:
        TrainingError: files cannot be written, or the model gives a validation frame numbers that are not finite.
        StructureError: a frame cannot be evaluated.
    """
    with closing(potential.evaluator("torch", dtype, device, "none", "auto")) as evaluator:
        scorer = Scorer(potential, evaluator, pool, settings)
        errors = scorer.finite_scores(split.validation, "errors")
        own = (
            errors
            if settings.criterion == "errors"
            else scorer.finite_scores(split.validation, settings.criterion)
        )
        examined = scorer.scores(split.examine, settings.criterion)
        test = scorer.errors(split.test)
    values = [each.score for each in own]
    cutoff, places = None, list[int]()
    if examined:
        cutoff = cutoff_of(values, settings.quantile) if settings.cutoff is None else settings.cutoff
        places = chosen([each.score for each in examined], cutoff, settings.largest_fraction)
    selection = Selection(
        train=len(split.train),
        examined=len(examined),
        errors=_mean(each.score for each in errors),
        mean=_mean(values),
        std=float(np.std(values)) if values else None,
        cutoff=cutoff,
        test_energy=test.energy_mae,
        test_forces=test.forces_mae,
        chosen=tuple(examined[place].frame for place in places),
    )
    _write_scores(folder / SCORES_FILE, examined, selection, pool)
    selection.save(folder)
    return selection


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None


def _write_scores(path: Path, scores: Sequence[Score], selection: Selection, pool: Pool) -> None:
    """A line for each examined frame, the highest score first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["frame", "file", "number", "atoms", "score", "energy_eV_per_molecule", "forces_eV_per_A", "added"]
    )
    added = set(selection.chosen)
    for each in sorted(scores, key=lambda score: -score.score):
        frame = pool.frames[each.frame]
        values = [repr(value) for value in each[1:]]
        writer.writerow(
            [each.frame, frame.source, frame.number, len(frame.atoms), *values, int(each.frame in added)]
        )
    write(path, text.getvalue())


def write(path: Path, text: str) -> None:
    """Write a file of a run, whole or not at all.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise TrainingError(f"Cannot write {path}: {error.strerror or error}.") from error
