"""What is minimised: weighted means of energy and force errors."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from halocline.model import Backbone
from halocline.program import energies_and_gradients
from halocline.program.geometry import forces_from_gradients
from halocline.training.recipe import ForcesLoss
from halocline.training.samples import Batch, LabelCounts

#: eV/Å; force errors shorter than this count by their squares, so that the norm is smooth at zero.
SMALL_FORCE = 0.01


def predict(backbone: Backbone, batch: Batch, *, differentiable: bool = False) -> tuple[Tensor, Tensor]:
    """Energies (S,) in eV without reference energies, and forces (N, 3) in eV/Å, both float64.

    Args:
        backbone: in the precision and on the device of the batch.
        batch: S structures.
        differentiable: keep the graph, to train on the forces.
    """
    inputs = batch.inputs
    outputs = energies_and_gradients(backbone, inputs, differentiable=differentiable)
    atoms = outputs.energies.double()
    energies = atoms.new_zeros(len(batch.sizes)).index_add(0, batch.structures, atoms)
    return energies, forces_from_gradients(outputs.gradients, inputs.receivers, inputs.senders, len(atoms))


@final
class Objective(nn.Module):
    """energy_weight · mean (ΔE / N)² + forces_weight · mean loss of ΔF, over the labels that a batch carries.

    Args:
        backbone: to be trained.
        energy_weight: per (eV/atom)².
        forces_weight: per (eV/Å)² of single components, or per eV/Å of norms.
        forces_loss: what the forces of an atom cost.
    """

    def __init__(
        self, backbone: Backbone, energy_weight: float, forces_weight: float, forces_loss: ForcesLoss = "squares"
    ) -> None:
        super().__init__()
        self.backbone, self.energy_weight, self.forces_weight = backbone, energy_weight, forces_weight
        self._forces_loss = _FORCES_LOSSES[forces_loss]

    def forward(self, batch: Batch, counts: LabelCounts) -> Tensor:
        """What a batch adds to the loss of a step, ().

        Args:
            batch: all frames of the step, or those that one rank computes.
            counts: of the labels of all frames of the step.
        """
        energies, forces = predict(self.backbone, batch, differentiable=True)
        energy_loss = _share(
            ((energies - batch.energies) / batch.sizes) ** 2, batch.energy_weights, counts.energies
        )
        forces_loss = _share(self._forces_loss(forces - batch.forces), batch.force_weights, counts.forces)
        return self.energy_weight * energy_loss + self.forces_weight * forces_loss


def _share(values: Tensor, weights: Tensor, count: int) -> Tensor:
    """What these values add to a mean over so many; zero if nothing has weight."""
    return (values * weights).sum() / max(1, count)


def _squares(errors: Tensor) -> Tensor:
    """Mean square of the components of each atom's error, (N, 1)."""
    return (errors**2).mean(1, keepdim=True)


def _norms(errors: Tensor) -> Tensor:
    """Length of each atom's error, (N, 1): a few large errors do not outweigh all others.

    L. Chanussot et al., "Open Catalyst 2020 (OC20) dataset and community challenges", ACS Catal. 11, 6059 (2021).
    """
    return torch.sqrt((errors**2).sum(1, keepdim=True) + SMALL_FORCE**2) - SMALL_FORCE


_FORCES_LOSSES = {"squares": _squares, "norms": _norms}
