"""Programs as functions of their parameters, for the transformations of ``torch.func``.

What it is for: committees of one architecture in one call (``vmap`` over stacked parameters), derivatives by
parameters (``grad``, ``jacrev``), and optimisers that keep parameters by themselves. A frozen model has its
weights in it; here they are an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn
from torch.func import functional_call, vjp

from halocline.model.backbone import Backbone
from halocline.program.evaluate import atom_energies
from halocline.program.inputs import ProgramInputs, ProgramOutputs


def energies_with(
    backbone: Backbone, parameters: Mapping[str, Tensor], inputs: ProgramInputs, vectors: Tensor
) -> Tensor:
    """Energies (n_0,) of the owned atoms in eV, differentiable by parameters and vectors.

    Args:
        backbone: gives everything that is not among the parameters; it stays as it is.
        parameters: by their names in ``backbone.state_dict()``; any of them.
        inputs: as for `atom_energies`.
        vectors: likewise.

    Raises:
        UsageError: the part was cut with fewer or more hops.
    """
    named = {f"backbone.{name}": value for name, value in parameters.items()}
    energies: Tensor = functional_call(_Energies(backbone), named, (inputs, vectors), strict=False)
    return energies


def energies_and_gradients_with(
    backbone: Backbone, parameters: Mapping[str, Tensor], inputs: ProgramInputs
) -> ProgramOutputs:
    """The outputs of `energies_and_gradients` with these parameters; ``torch.func`` can transform this function.

    Args:
        backbone: one whose forces are derivatives; see `energies_with`.
        parameters: likewise.
        inputs: see `ProgramInputs`.
    """
    energies, pullback, *_ = vjp(
        lambda vectors: energies_with(backbone, parameters, inputs, vectors), inputs.vectors
    )
    (gradients,) = pullback(inputs.seeds)
    return ProgramOutputs(energies, gradients)


@final
class _Energies(nn.Module):
    """A module with a call, as `functional_call` needs one: backbones have stages instead."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, inputs: ProgramInputs, vectors: Tensor) -> Tensor:
        """Energies (n_0,)."""
        return atom_energies(self.backbone, inputs, vectors)
