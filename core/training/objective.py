"""What is minimised: weighted mean squares of energy and force errors."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from halocline.evaluator.frame import forces_from_gradients
from halocline.model import Backbone
from halocline.program import energies_and_gradients
from halocline.training.samples import Batch


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
    """energy_weight · mean (ΔE / N)² + forces_weight · mean (ΔF)², over the labels that a batch carries.

    Args:
        backbone: to be trained.
        energy_weight: per (eV/atom)².
        forces_weight: per (eV/Å)², of single components.
    """

    def __init__(self, backbone: Backbone, energy_weight: float, forces_weight: float) -> None:
        super().__init__()
        self.backbone, self.energy_weight, self.forces_weight = backbone, energy_weight, forces_weight

    def forward(self, batch: Batch) -> Tensor:
        """The loss of a batch, ()."""
        energies, forces = predict(self.backbone, batch, differentiable=True)
        energy_loss = _mean(((energies - batch.energies) / batch.sizes) ** 2, batch.energy_weights)
        forces_loss = _mean(((forces - batch.forces) ** 2).mean(1, keepdim=True), batch.force_weights)
        return self.energy_weight * energy_loss + self.forces_weight * forces_loss


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean; zero if nothing has weight."""
    return (values * weights).sum() / weights.sum().clamp(min=1.0)
