"""Errors and loss on the validation frames, each frame evaluated by one rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from halocline.model import Backbone
from halocline.training.deal import deal
from halocline.training.errors import Errors, measure
from halocline.training.fit.losses import Loss, Predictions
from halocline.training.fit.objective import predict
from halocline.training.memory import memory_advice
from halocline.training.problem import Problem
from halocline.training.samples import Batch, Batches, LabelCounts, Sample
from halocline.training.supply import in_steps
from halocline.training.team import Team


class Validated(NamedTuple):
    """What validation found.

    Attributes:
        errors: over all frames.
        loss: likewise, with the weights that the loss of the fit ends with; None without frames.
    """

    errors: Errors
    loss: float | None


@final
class Validation:
    """Measures a backbone on the validation frames, as many at a time as a step of training holds.

    Args:
        problem: what is fitted.
        samples: its validation frames, in their order.
        batches: makes batches of them.
        device: of the sums over ranks.
        team: who shares the work.
    """

    def __init__(
        self, problem: Problem, samples: Sequence[Sample], batches: Batches, device: torch.device, team: Team
    ) -> None:
        self._samples, self._batches, self._device, self._team = samples, batches, device, team
        frames = problem.split.validation
        self._labels = [problem.labels[i] for i in frames]
        self._references = [problem.reference(i) for i in frames]
        facts = [(sample.atoms, sample.cost, sample.counts) for sample in samples]  # once: they may be made anew
        self._sizes = [atoms for atoms, _, _ in facts]
        self._stressed = [counts.stresses > 0 for _, _, counts in facts]
        self._mine = deal([cost for _, cost, _ in facts], team.size)[team.rank]
        self._cuts = batches.size.cut(batches.size.measure(samples)[self._mine])
        settings = problem.recipe.training
        self._loss, self._weights = Loss(settings), settings.weights(settings.epochs)
        self._counts = LabelCounts.total([counts for _, _, counts in facts])

    def measure(self, backbone: Backbone) -> Validated:
        """Errors over all frames, the same on every rank; of no frames, none."""
        if not self._samples:
            return Validated(Errors(frames=0), None)
        sizes, size = self._sizes, self._batches.size
        loss = torch.zeros(1, dtype=torch.float64, device=self._device)
        # Of each frame: energy, stress, forces.
        results = [torch.zeros(10 + 3 * size, dtype=torch.float64, device=self._device) for size in sizes]
        steps = [self._mine[cut] for cut in self._cuts]
        for some, samples in zip(steps, in_steps(self._samples, steps), strict=True):
            with memory_advice(samples, size, "the validation"):
                batch = self._batches.of(samples)
                found = predict(backbone, batch, forces=self._counts.forces > 0, stress=self._counts.stresses > 0)
            loss += self._loss(found, batch.targets, batch.sizes, self._counts, self._weights)
            for i, flat in zip(some, _flat(found, batch), strict=True):
                results[i] = flat
        joined = torch.cat([loss, *results])
        self._team.sum(joined)  # of one rank's values and the zeros of the others
        total, *parts = torch.split(joined.cpu(), [1, *(len(each) for each in results)])
        known = [each.numpy() for each in parts]
        errors = measure(
            self._labels,
            self._references,
            sizes,
            [float(each[0]) + reference for each, reference in zip(known, self._references, strict=True)],
            [each[10:].reshape(-1, 3) for each in known],
            [
                each[1:10].reshape(3, 3) if stressed else None
                for each, stressed in zip(known, self._stressed, strict=True)
            ],
        )
        return Validated(errors, float(total))


def _flat(found: Predictions, batch: Batch) -> list[Tensor]:
    """Of each structure one tensor: energy, stress, forces; zeros for what was not asked for."""
    stresses = torch.zeros_like(batch.targets.stresses) if found.stresses is None else found.stresses
    forces = torch.zeros_like(batch.targets.forces) if found.forces is None else found.forces
    of_each = torch.split(forces, batch.sizes.long().tolist())
    return [
        torch.cat([energy[None], stress.flatten(), force.flatten()])
        for energy, stress, force in zip(found.energies, stresses, of_each, strict=True)
    ]
