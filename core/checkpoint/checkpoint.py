"""What a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model: which backbone, how it is built, its weights, and who made it.

    Attributes:
        backbone: name of the backbone among the plugins.
        config: what the backbone is built from; plain JSON values.
        tensors: the weights by name; names are letters, digits, dots and underscores.
        reference_energies: chemical symbol → eV of one atom alone; its keys are the species of the model.
        card: what its users should know; the fields are those of `CARD_FIELDS`.
    """

    backbone: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    reference_energies: dict[str, float]
    card: dict[str, Any] = field(default_factory=dict)
