"""The models that are compared: about as many parameters each, for molecules and for liquids."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from torch import nn

from halocline.model import Backbone

#: Å, of all models.
CUTOFF: Final = 5.0

ESCAIP: Final = MappingProxyType(
    {
        "hidden": 30,
        "heads": 1,
        "frequencies": [12, 6, 4, 4, 4],
        "layers": 2,
        "embedding": 8,
        "orders": 6,
        "order_embedding": 16,
        "gaussians": 64,
        "distance_embedding": 32,
    }
)


@dataclass(frozen=True)
class Compared:
    """A model of the comparison.

    Attributes:
        backbone: its name.
        config: without species, cutoff and neighbours.
        epochs: of its fit, which take about two minutes of the processor.
        learning_rate: of its fits; not tuned, but in the order that is usual for each.
    """

    backbone: str
    config: dict[str, Any]
    epochs: int
    learning_rate: float = 2e-3

    @property
    def conserves(self) -> bool:
        """Whether forces are a gradient, so that dynamics at constant energy mean something."""
        return self.config.get("forces") != "direct"


MODELS: Final = MappingProxyType(
    {
        "escaip": Compared("escaip", dict(ESCAIP), epochs=4),
        "mace": Compared(
            "mace",
            {
                "channels": 40,
                "hidden_degree": 1,
                "max_degree": 2,
                "correlation": 3,
                "layers": 2,
                "radial_units": [32, 32, 32],
            },
            epochs=6,
            learning_rate=5e-3,
        ),
        "schnet": Compared("schnet", {"features": 64, "gaussians": 32, "layers": 3}, epochs=26),
        "escaip-direct": Compared(
            "escaip", {**ESCAIP, "hidden": 25, "frequencies": [9, 4, 4, 4, 4], "forces": "direct"}, epochs=7
        ),
    }
)


def config_of(name: str, neighbours: int, *, cutoff: float = CUTOFF, listed: int | None = None) -> dict[str, Any]:
    """A config, without species.

    Args:
        name: of the model.
        neighbours: k that EScAIP keeps, and the mean number that MACE divides messages by.
        cutoff: Å.
        listed: neighbours that EScAIP ranks; 2k by default.
    """
    compared = MODELS[name]
    own: dict[str, Any] = {}
    if compared.backbone == "escaip":
        own = {"nearest": neighbours, "capacity": listed or 2 * neighbours}
    elif compared.backbone == "mace":
        own = {"average_neighbours": float(neighbours)}
    return compared.config | own | {"cutoff": cutoff}


def parameters(backbone: Backbone) -> int:
    """How many there are; of tables over all elements only the rows of the model's own."""
    module: nn.Module = backbone
    rows = set(backbone.numbered_weights)
    return sum(
        tensor.numel() // tensor.shape[0] * len(backbone.species) if name in rows else tensor.numel()
        for name, tensor in module.named_parameters()
    )
