"""Errors on the validation frames, each frame evaluated by one rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

from halocline.model import Backbone
from halocline.training.deal import deal
from halocline.training.errors import Errors, measure
from halocline.training.objective import predict
from halocline.training.problem import Problem
from halocline.training.samples import Batch, Sample
from halocline.training.team import Team


@final
class Validation:
    """Measures a backbone on the validation frames.

    Args:
        problem: what is fitted.
        samples: its validation frames, in their order.
        team: who shares the work.
    """

    def __init__(self, problem: Problem, samples: Sequence[Sample], team: Team) -> None:
        self._samples, self._team = samples, team
        frames = problem.split.validation
        self._labels = [problem.labels[i] for i in frames]
        self._references = [problem.reference(i) for i in frames]
        self._mine = deal([sample.cost for sample in samples], team.size)[team.rank]

    def measure(self, backbone: Backbone) -> Errors:
        """Errors over all frames, the same on every rank; of no frames, none."""
        if not self._samples:
            return Errors(frames=0)
        device = self._samples[0].forces.device
        sizes = [len(sample.forces) for sample in self._samples]
        results = [torch.zeros(1 + 3 * size, dtype=torch.float64, device=device) for size in sizes]
        for i in self._mine:
            energy, forces = predict(backbone, Batch([self._samples[i]]))
            results[i] = torch.cat([energy, forces.flatten()])
        joined = torch.cat(results)
        self._team.sum(joined)  # of one rank's values and the zeros of the others
        known = [each.numpy() for each in torch.split(joined.cpu(), [len(each) for each in results])]
        energies = [float(each[0]) + reference for each, reference in zip(known, self._references, strict=True)]
        return measure(
            self._labels, self._references, sizes, energies, [each[1:].reshape(-1, 3) for each in known]
        )
