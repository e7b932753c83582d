"""Frames of a pool, scored with the model of an iteration."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from halocline.active.score import component_spread, score
from halocline.errors import HaloclineError, NotFiniteError, StructureError, TrainingError
from halocline.evaluator.result import Result
from halocline.potential.many import outcomes
from halocline.training.errors import Errors, measure

if TYPE_CHECKING:
    from halocline.active.pool import Pool
    from halocline.active.settings import ActiveSettings, Criterion
    from halocline.evaluator import Evaluator
    from halocline.potential.potential import Potential


_LOG = logging.getLogger(__name__)


class Score(NamedTuple):
    """Attributes: a frame by its number, its score, and what that is made of, in eV per molecule and eV/Å."""

    frame: int
    score: float
    energy: float
    forces: float


@final
class Scorer:
    """Evaluates frames by their numbers; where they lie outside of the training, which is why, nothing is said.

    Args:
        potential: of the iteration; a committee where the criterion is their spread.
        evaluator: of the potential.
        pool: all frames.
        settings: of the loop.
    """

    def __init__(self, potential: Potential, evaluator: Evaluator, pool: Pool, settings: ActiveSettings) -> None:
        self._potential, self._evaluator, self._pool, self._settings = potential, evaluator, pool, settings

    def scores(self, frames: Sequence[int], criterion: Criterion) -> list[Score]:
        """Score frames, in their order; infinite where the model gives numbers that are not finite.

        Raises:
            StructureError: a frame cannot be evaluated.
        """
        return [
            Score(frame, math.inf, math.inf, math.inf)
            if isinstance(outcome, NotFiniteError)
            else self._score(frame, self._result(frame, outcome), criterion)
            for frame, outcome in self._outcomes(frames)
        ]

    def finite_scores(self, frames: Sequence[int], criterion: Criterion) -> list[Score]:
        """Score frames that judge the model.

        Raises:
            TrainingError: it gives one of them numbers that are not finite.
            StructureError: a frame cannot be evaluated.
        """
        scores = self.scores(frames, criterion)
        for each in scores:
            if each.score == math.inf:
                raise TrainingError(
                    f"The model gives {self._pool.name(each.frame)}, which validates it, numbers that are not "
                    "finite; look at this frame, or lower training.learning_rate."
                )
        return scores

    def errors(self, frames: Sequence[int]) -> Errors:
        """Errors on frames with labels; those to which the model gives numbers that are not finite do not count.

        Raises:
            StructureError: a frame cannot be evaluated.
        """
        found = dict(self._outcomes(frames))
        lost = [frame for frame, outcome in found.items() if isinstance(outcome, NotFiniteError)]
        for frame in lost:
            _LOG.warning(
                "%s does not count: the model gives it numbers that are not finite.", self._pool.name(frame)
            )
            del found[frame]
        results = [self._result(frame, outcome) for frame, outcome in found.items()]
        return measure(
            [self._pool.labels[frame] for frame in found],
            [0.0] * len(found),  # which are in energies and labels alike
            [len(result.energies) for result in results],
            [result.energy for result in results],
            [result.forces for result in results],
            [result.stress for result in results],
        )

    def _outcomes(self, frames: Sequence[int]) -> Iterator[tuple[int, Result | HaloclineError]]:
        structures = (self._pool.atoms(frame) for frame in frames)
        return zip(frames, outcomes(self._potential, self._evaluator, structures), strict=True)

    def _result(self, frame: int, outcome: Result | HaloclineError) -> Result:
        if isinstance(outcome, HaloclineError):
            raise StructureError(f"{self._pool.name(frame)}: {outcome}") from outcome
        return outcome

    def _score(self, frame: int, result: Result, criterion: Criterion) -> Score:
        if criterion == "spread":
            assert result.spread is not None
            energy, forces = result.spread.energy, component_spread(result.spread)
        else:
            labels = self._pool.labels[frame]
            energy = 0.0 if labels.energy is None else result.energy - labels.energy
            forces = np.zeros_like(result.forces) if labels.forces is None else result.forces - labels.forces
        weight, molecule = self._settings.energy_weight, self._settings.atoms_per_molecule
        return Score(
            frame,
            score(energy, forces, energy_weight=weight, atoms_per_molecule=molecule),
            abs(energy) * molecule / len(forces),
            float(np.abs(forces).mean()),
        )
