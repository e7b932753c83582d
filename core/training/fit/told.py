"""Predictions of models that say more of a structure than energies of its atoms.

Their forces, or virials, are direct, or their energy is told by a head of the whole, which evaluators ask between
two runs of a program. Training has whole structures in a batch: all of it is one function of the weights there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from halocline.context import in_evaluation_context
from halocline.model import Backbone, Output, PooledHead
from halocline.model.pooled import POOLED_WEIGHTS
from halocline.program import ProgramInputs
from halocline.program.evaluate import atom_outputs, vector_jacobian_product
from halocline.program.geometry import forces_from_gradients, virials_from_gradients
from halocline.training.fit.losses import Predictions
from halocline.training.samples import Batch

#: What nothing but energies follows from.
_PLAIN: Final = (Output.ENERGIES,)


def tells_more(backbone: Backbone) -> bool:
    """Whether energies of atoms are not all that predictions follow from."""
    return backbone.outputs != _PLAIN


@in_evaluation_context
def told(backbone: Backbone, batch: Batch, *, differentiable: bool, forces: bool, stress: bool) -> Predictions:
    """What a model says of the structures of a batch, in float64; arguments as for `predict`.

    A stress of which the model says nothing is None.
    """
    derives = backbone.derives_forces and (forces or stress)
    inputs = _inputs(backbone, batch)
    vectors = inputs.vectors.detach().requires_grad_(derives)
    found = atom_outputs(backbone, inputs, vectors)
    energies, head = _sums(found[Output.ENERGIES], batch), _Head(backbone.pooled_head, found, batch)
    energies = head.energies(energies)
    said = Predictions(energies)
    if derives:
        said = _derived(backbone, energies, vectors, batch, differentiable=differentiable)
    elif not backbone.derives_forces:
        said = Predictions(energies, head.balanced(found[Output.FORCES].double()), head.stresses())
    if Output.VIRIALS in found:
        of_atoms = _sums(found[Output.VIRIALS], batch)
        stresses = 0.5 * (of_atoms + of_atoms.mT) / batch.volumes[:, None, None]
        of_head = None if backbone.derives_forces else said.stresses
        said = said._replace(stresses=stresses if of_head is None else stresses + of_head)
    said = said._replace(forces=said.forces if forces else None, stresses=said.stresses if stress else None)
    if differentiable:
        return said
    forces_only, stresses_only = (None if each is None else each.detach() for each in said[1:])
    return Predictions(said.energies.detach(), forces_only, stresses_only)


def _inputs(backbone: Backbone, batch: Batch) -> ProgramInputs:
    """With weights of pooled vectors that are zero, as the head itself is asked."""
    inputs, head = batch.inputs.usable(), backbone.pooled_head
    if head is None:
        return inputs
    weights = inputs.vectors.new_zeros((len(inputs.species), head.channels))
    return replace(inputs, conditions={**inputs.conditions, POOLED_WEIGHTS: weights})


def _derived(
    backbone: Backbone, energies: Tensor, vectors: Tensor, batch: Batch, *, differentiable: bool
) -> Predictions:
    inputs = batch.inputs
    gradients = vector_jacobian_product(
        {"energies": energies},
        {"energies": torch.ones_like(energies)},
        {"vectors": vectors},
        f"Energies of {backbone.name!r}",
        constant=lambda: not backbone.hops or not vectors.numel(),
        differentiable=differentiable,
    )["vectors"]
    forces = forces_from_gradients(gradients, inputs.receivers, inputs.senders, len(batch.structures))
    edges = batch.structures[inputs.receivers]
    virials = virials_from_gradients(gradients, vectors.detach(), edges, len(batch.sizes))
    return Predictions(energies, forces, virials / batch.volumes[:, None, None])


class _Head:
    """What the head says of the structures of a batch; without one, nothing.

    Args:
        head: of the model.
        found: outputs of atoms.
        batch: of S structures of N atoms in all.
    """

    def __init__(self, head: PooledHead | None, found: dict[Output, Tensor], batch: Batch) -> None:
        self._head, self._batch = head, batch
        if head is not None:
            # The head is in the precision of training.
            dtype = next(head.parameters()).dtype
            self._sums, self._atoms = _sums(found[Output.POOLED], batch).to(dtype), batch.sizes.to(dtype)

    def energies(self, others: Tensor) -> Tensor:
        """(S,) eV, with the sums of what atoms say."""
        return others if self._head is None else others + self._head(self._sums, self._atoms).double()

    def stresses(self) -> Tensor | None:
        """(S, 3, 3), eV/Å³."""
        found = None if self._head is None else self._head.stress(self._sums, self._atoms)
        return None if found is None else found.double()

    def balanced(self, forces: Tensor) -> Tensor:
        """(N, 3), eV/Å, once those of all atoms are known."""
        if self._head is None:
            return forces
        sizes = self._batch.sizes.long().tolist()
        pieces = zip(torch.split(forces, sizes), torch.split(self._batch.positions, sizes), strict=True)
        of_each = zip(pieces, self._batch.periodic, strict=True)
        return torch.cat([self._head.balanced(*piece, periodic=periodic) for piece, periodic in of_each])


def _sums(values: Tensor, batch: Batch) -> Tensor:
    """(S, ...) float64, over the atoms of each structure."""
    values = values.double()
    return values.new_zeros((len(batch.sizes), *values.shape[1:])).index_add(0, batch.structures, values)
