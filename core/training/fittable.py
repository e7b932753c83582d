"""What of a model can be fitted: energies, and forces and stress, be they derivatives or said directly."""

from __future__ import annotations

from typing import Final

import torch

from halocline.errors import TrainingError
from halocline.model import Backbone, Output

#: What the loss compares with labels, or what that follows from.
_FITTED: Final = frozenset({Output.ENERGIES, Output.FORCES, Output.VIRIALS, Output.POOLED})


def require_trainable(backbone: Backbone) -> None:
    """Refuse a model that says more than training fits: nothing would ever correct it.

    Raises:
        TrainingError: it does.
    """
    if more := [output for output in backbone.outputs if output not in _FITTED]:
        raise TrainingError(
            f"Training fits energies, forces and stress, and {backbone.name!r} also returns {', '.join(more)}; "
            "leave those out of model.config."
        )
    if any(energy for energies in backbone.head_energies.values() for energy in energies.values()):
        raise TrainingError(
            f"Training fits one reference energy for each species, and the heads of {backbone.name!r} have some "
            "of their own; leave those out of model.config."
        )


def require_stress(backbone: Backbone) -> None:
    """Refuse labels of a stress for a model that says nothing of it.

    Raises:
        TrainingError: its forces are direct, and it has no stress.
    """
    if not says_stress(backbone):
        raise TrainingError(
            f"The forces of this {backbone.name!r} are direct, and it says nothing of the stress: set "
            "training.stress_weight to 0, and leave out data.stress_key and metrics of the stress."
        )


def says_stress(backbone: Backbone) -> bool:
    """Whether a stress follows from the energy, from what is said of atoms, or from a head of the whole."""
    if backbone.derives_forces or Output.VIRIALS in backbone.outputs:
        return True
    head = backbone.pooled_head
    if head is None:
        return False
    dtype = next(head.parameters()).dtype
    with torch.no_grad():
        return head.stress(torch.zeros(1, head.channels, dtype=dtype), torch.ones(1, dtype=dtype)) is not None
