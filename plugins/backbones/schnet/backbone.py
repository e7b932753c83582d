"""SchNet as a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

from torch import Tensor, nn

from halocline.model import Backbone, Stage
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.schnet.config import SchNetConfig
from halocline.plugins.backbones.schnet.stages import Embedding, Interaction, Readout


@final
class SchNet(Backbone):
    """Continuous-filter convolutions over distances.

    K. T. Schütt et al., J. Chem. Phys. 148, 241722 (2018), in the parametrisation of the water-cluster work:
    J. A. Bilbrey et al., J. Chem. Phys. 153, 024302 (2020); H. Helal et al., J. Chem. Inf. Model. 64, 1568 (2024).
    """

    name = "schnet"

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Interaction(config) for _ in range(config.layers))
        self.readout = Readout(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `SchNetConfig`."""
        return cls(read_config(SchNetConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = SchNetConfig(species=("H", "O"), features=16, gaussians=12, layers=3, cutoff=3.0)
        return to_json(config)

    @classmethod
    def renewed_weights(cls, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.renewed_weights`: filters became a module of their own."""
        renamed = {".filter_in.": ".filters.hidden.", ".filter_out.": ".filters.out."}
        return {_replaced(name, renamed): values for name, values in weights.items()}

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, after the last layer."""
        return {len(self.layers): self.readout}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}


def _replaced(name: str, parts: Mapping[str, str]) -> str:
    for old, new in parts.items():
        name = name.replace(old, new)
    return name
