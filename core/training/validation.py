"""Errors on the validation frames, each frame evaluated by one rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

from halocline.model import Backbone
from halocline.training.deal import deal
from halocline.training.errors import Errors, measure
from halocline.training.fit.objective import predict
from halocline.training.memory import memory_advice
from halocline.training.problem import Problem
from halocline.training.samples import Batches, Sample
from halocline.training.team import Team


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
        self._mine = deal([sample.cost for sample in samples], team.size)[team.rank]

    def measure(self, backbone: Backbone) -> Errors:
        """Errors over all frames, the same on every rank; of no frames, none."""
        if not self._samples:
            return Errors(frames=0)
        sizes = [sample.atoms for sample in self._samples]
        results = [torch.zeros(1 + 3 * size, dtype=torch.float64, device=self._device) for size in sizes]
        size = self._batches.size
        for cut in size.cut(size.measure([self._samples[i] for i in self._mine])):
            some = self._mine[cut]
            samples = [self._samples[i] for i in some]
            with memory_advice(samples, size, "the validation"):
                energies, forces = predict(backbone, self._batches.of(samples))
            of_each = torch.split(forces, [sizes[i] for i in some])
            for i, energy, force in zip(some, energies, of_each, strict=True):
                results[i] = torch.cat([energy[None], force.flatten()])
        joined = torch.cat(results)
        self._team.sum(joined)  # of one rank's values and the zeros of the others
        known = [each.numpy() for each in torch.split(joined.cpu(), [len(each) for each in results])]
        return measure(
            self._labels,
            self._references,
            sizes,
            [float(each[0]) + reference for each, reference in zip(known, self._references, strict=True)],
            [each[1:].reshape(-1, 3) for each in known],
        )
