"""What an iteration makes of the frames that it examines, kept so that it is decided once."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import numpy as np

from halocline.active.score import chosen, component_spread, cutoff_of, score
from halocline.errors import HaloclineError, NotFiniteError, StructureError, TrainingError
from halocline.evaluator.result import Result
from halocline.files import write_atomically

if TYPE_CHECKING:
    from halocline.active.pool import Pool
    from halocline.active.settings import ActiveSettings, Criterion
    from halocline.active.splits import PoolSplit
    from halocline.potential.potential import Potential

#: In the folder of an iteration.
SELECTION_FILE: Final = "selection.json"
SCORES_FILE: Final = "scores.csv"


class Score(NamedTuple):
    """Attributes: a frame by its number, its score, and what that is made of, in eV per molecule and eV/Å."""

    frame: int
    score: float
    energy: float
    forces: float


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
        chosen: numbers of the frames that are added, the highest score first.
    """

    train: int
    examined: int = 0
    errors: float | None = None
    mean: float | None = None
    std: float | None = None
    cutoff: float | None = None
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
    potential: Potential, pool: Pool, split: PoolSplit, settings: ActiveSettings, folder: Path, **how: str
) -> Selection:
    """Score the examined frames, decide, and keep the decision and the scores.

    Args:
        potential: of the iteration; a committee where the criterion is their spread.
        pool: all frames.
        split: of the iteration.
        settings: of the loop.
        folder: of the iteration.
        how: to evaluate, as for `Potential.map`.

    Raises:
        TrainingError: files cannot be written.
        HaloclineError: a frame cannot be evaluated. Where the model gives numbers that are not finite, the score
            of a frame of the pool is infinite: it has never learnt anything like it.
    """
    errors = scores_of(potential, pool, split.validation, settings, "errors", **how)
    own = errors
    if settings.criterion != "errors":
        own = scores_of(potential, pool, split.validation, settings, settings.criterion, **how)
    _refuse_infinite([*errors, *own], pool)
    values = [each.score for each in own]
    cutoff = None
    if split.examine:
        cutoff = cutoff_of(values, settings.quantile) if settings.cutoff is None else settings.cutoff
    examined = scores_of(potential, pool, split.examine, settings, settings.criterion, **how)
    places = [] if cutoff is None else chosen([each.score for each in examined], cutoff, settings.largest_fraction)
    selection = Selection(
        train=len(split.train),
        examined=len(examined),
        errors=float(np.mean([each.score for each in errors])) if errors else None,
        mean=float(np.mean(values)) if values else None,
        std=float(np.std(values)) if values else None,
        cutoff=cutoff,
        chosen=tuple(examined[place].frame for place in places),
    )
    _write_scores(folder / SCORES_FILE, examined, selection, pool)
    selection.save(folder)
    return selection


def scores_of(
    potential: Potential,
    pool: Pool,
    frames: Sequence[int],
    settings: ActiveSettings,
    criterion: Criterion,
    **how: str,
) -> list[Score]:
    """Score frames by their numbers; see `select`."""
    structures = (pool.atoms(frame) for frame in frames)
    outcomes: Iterable[Result | HaloclineError] = potential.map(structures, errors="yield", **how)  # type: ignore[arg-type]
    return [
        _score(outcome, frame, pool, settings, criterion) for outcome, frame in zip(outcomes, frames, strict=True)
    ]


def _score(
    outcome: Result | HaloclineError, frame: int, pool: Pool, settings: ActiveSettings, criterion: Criterion
) -> Score:
    if isinstance(outcome, NotFiniteError):
        return Score(frame, math.inf, math.inf, math.inf)
    if isinstance(outcome, HaloclineError):
        raise StructureError(f"{pool.name(frame)}: {outcome}") from outcome
    if criterion == "spread":
        assert outcome.spread is not None
        energy, forces = outcome.spread.energy, component_spread(outcome.spread)
    else:
        labels = pool.labels[frame]
        energy = 0.0 if labels.energy is None else outcome.energy - labels.energy
        forces = np.zeros_like(outcome.forces) if labels.forces is None else outcome.forces - labels.forces
    molecule = settings.atoms_per_molecule
    return Score(
        frame,
        score(energy, forces, energy_weight=settings.energy_weight, atoms_per_molecule=molecule),
        abs(energy) * molecule / len(forces),
        float(np.abs(forces).mean()),
    )


def _refuse_infinite(scores: Sequence[Score], pool: Pool) -> None:
    for each in scores:
        if each.score == math.inf:
            raise TrainingError(
                f"The model gives {pool.name(each.frame)}, which validates it, numbers that are not finite; look "
                "at this frame, or lower training.learning_rate."
            )


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
