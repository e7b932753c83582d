"""What errors cost: weighted means over the labels of a step, for each of energy, forces and stress."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, final

import torch
from torch import Tensor

from halocline.training.recipe import LossKind, TrainingSettings, Weights
from halocline.training.samples import LabelCounts, Targets

#: eV/Å and eV/Å³; lengths of errors below these count by their squares, so that they are smooth at zero.
SMALL_FORCE: Final = 0.01
SMALL_STRESS: Final = 1e-4


class Predictions(NamedTuple):
    """What a model says of S structures of N atoms in all; float64.

    Attributes:
        energies: (S,) eV, without reference energies.
        forces: (N, 3), eV/Å; None if they were not asked for.
        stresses: (S, 3, 3), eV/Å³, tension positive, without meaning where a structure has no volume; None if they
            were not asked for.
    """

    energies: Tensor
    forces: Tensor | None = None
    stresses: Tensor | None = None


@final
class Loss:
    """Σ weight · mean of what errors cost, over energies per atom, forces and stresses.

    Args:
        settings: what an error of each costs.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        self._energy = _cost(settings.energy_loss, settings.energy_huber)
        self._forces = _cost(settings.forces_loss, settings.forces_huber, SMALL_FORCE)
        self._stress = _cost(settings.stress_loss, settings.stress_huber, SMALL_STRESS)

    def __call__(
        self, predictions: Predictions, targets: Targets, sizes: Tensor, counts: LabelCounts, weights: Weights
    ) -> Tensor:
        """What the structures of a batch add to the loss of a step, ().

        Args:
            predictions: of energies, and of everything else that has weight.
            targets: of the same structures.
            sizes: (S,) float64, their numbers of atoms.
            counts: of the labels of all structures of the step, whoever computes them.
            weights: of the terms.
        """
        errors = ((predictions.energies - targets.energies) / sizes)[:, None]
        # Also without weight: it ties the loss of isolated atoms, which have no forces, to the model.
        loss = weights.energy * _share(self._energy(errors)[:, 0], targets.has_energy, counts.energies)
        if weights.forces and predictions.forces is not None:
            costs = self._forces(predictions.forces - targets.forces)
            loss = loss + weights.forces * _share(costs, targets.has_forces, counts.forces)
        if weights.stress and predictions.stresses is not None:
            errors = (predictions.stresses - targets.stresses).flatten(1)
            loss = loss + weights.stress * _share(self._stress(errors)[:, 0], targets.has_stress, counts.stresses)
        return loss


def _share(costs: Tensor, present: Tensor, count: int) -> Tensor:
    """What these add to a mean over so many labels; zero if none is there."""
    return (costs * present).sum() / max(1, count)


def _cost(kind: LossKind, huber: float, small: float = 0.0) -> Callable[[Tensor], Tensor]:
    """What errors (n, c) of n labels cost, (n, 1)."""
    costs: dict[LossKind, Callable[[Tensor], Tensor]] = {
        "squares": _squares,
        "absolute": _absolute,
        "huber": partial(_huber, width=huber),
        "norms": partial(_norms, small=small),
    }
    return costs[kind]


def _squares(errors: Tensor) -> Tensor:
    """Mean square of the components."""
    return (errors**2).mean(1, keepdim=True)


def _absolute(errors: Tensor) -> Tensor:
    """Mean absolute value of the components."""
    return errors.abs().mean(1, keepdim=True)


def _huber(errors: Tensor, width: float) -> Tensor:
    """Mean of half the squares of the components up to a width, beyond of the line that goes on from there.

    P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Stat. 35, 73 (1964).
    """
    return torch.nn.functional.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=width).mean(
        1, keepdim=True
    )


def _norms(errors: Tensor, small: float) -> Tensor:
    """Length of each error: a few large errors do not outweigh all others.

    L. Chanussot et al., "Open Catalyst 2020 (OC20) dataset and community challenges", ACS Catal. 11, 6059 (2021).
    """
    return torch.sqrt((errors**2).sum(1, keepdim=True) + small**2) - small
