"""What is minimised: the loss of a model's predictions."""

from __future__ import annotations

from typing import Final, final

from torch import Tensor, nn

from halocline.context import in_evaluation_context
from halocline.model import Backbone
from halocline.program import ProgramInputs, energies_and_gradients
from halocline.program.evaluate import atom_energies
from halocline.program.geometry import forces_from_gradients, virials_from_gradients
from halocline.training.fit.losses import Loss, Predictions
from halocline.training.fit.told import tells_more, told
from halocline.training.recipe import TrainingSettings, Weights
from halocline.training.samples import Batch, LabelCounts

#: Without a teacher.
UNTAUGHT: Final = Weights(0.0, 0.0)
NOTHING: Final = LabelCounts(0, 0)


def predict(
    backbone: Backbone, batch: Batch, *, differentiable: bool = False, forces: bool = True, stress: bool = False
) -> Predictions:
    """Energies of the structures of a batch, and their derivatives, or what a direct model says in their place.

    The stress is the derivative of the energy by strain, divided by the volume: a strain ε makes ε v of what every
    edge vector v gains, so it follows from the same gradients as the forces.

    Args:
        backbone: in the precision and on the device of the batch.
        batch: S structures.
        differentiable: keep the graph, to train.
        forces: or leave them out, and with them the derivative by every edge.
        stress: or leave it out.
    """
    if tells_more(backbone):
        return told(backbone, batch, differentiable=differentiable, forces=forces, stress=stress)
    inputs = batch.inputs
    if not (forces or stress):
        energies = _energies(backbone, inputs)
        return Predictions(_of_structures(energies if differentiable else energies.detach(), batch))
    outputs = energies_and_gradients(backbone, inputs, differentiable=differentiable)
    found = Predictions(_of_structures(outputs.energies, batch))
    if forces:
        atoms = len(batch.structures)
        pulls = forces_from_gradients(outputs.gradients, inputs.receivers, inputs.senders, atoms)
        found = found._replace(forces=pulls)
    if stress:
        edges = batch.structures[inputs.receivers]
        virials = virials_from_gradients(outputs.gradients, inputs.vectors, edges, len(batch.sizes))
        found = found._replace(stresses=virials / batch.volumes[:, None, None])
    return found


@final
class Objective(nn.Module):
    """The loss of a model on batches; a module, as Fabric wraps these.

    Args:
        backbone: to be trained.
        settings: what errors cost.
        teaching: weights of the terms that compare with what a teacher says.
    """

    def __init__(self, backbone: Backbone, settings: TrainingSettings, teaching: Weights = UNTAUGHT) -> None:
        super().__init__()
        self.backbone, self._loss, self._teaching = backbone, Loss(settings), teaching

    def forward(
        self, batch: Batch, counts: LabelCounts, weights: Weights, lessons: LabelCounts = NOTHING
    ) -> Tensor:
        """What a batch adds to the loss of a step, ().

        Args:
            batch: all frames of the step, or those that one rank computes.
            counts: of the labels of all frames of the step.
            weights: of the terms that compare with labels.
            lessons: of what a teacher says of all frames of the step.
        """
        predictions = predict(
            self.backbone,
            batch,
            differentiable=True,
            forces=weights.forces > 0.0 or self._teaching.forces > 0.0,
            stress=weights.stress > 0.0,
        )
        loss = self._loss(predictions, batch.targets, batch.sizes, counts, weights)
        if batch.lessons is None:
            return loss
        return loss + self._loss(predictions, batch.lessons, batch.sizes, lessons, self._teaching)


@in_evaluation_context
def _energies(backbone: Backbone, inputs: ProgramInputs) -> Tensor:
    """Energies of atoms, differentiable by the weights alone."""
    inputs = inputs.usable()
    return atom_energies(backbone, inputs, inputs.vectors)


def _of_structures(atoms: Tensor, batch: Batch) -> Tensor:
    """Sums (S,) over the atoms of each structure, in float64."""
    atoms = atoms.double()
    return atoms.new_zeros(len(batch.sizes)).index_add(0, batch.structures, atoms)
