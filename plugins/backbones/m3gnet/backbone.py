"""M3GNet as a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

from torch import nn

from halocline.model import Backbone, Stage
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.m3gnet.config import M3GNetConfig
from halocline.plugins.backbones.m3gnet.stages import Embedding, Layer, Readout


@final
class M3GNet(Backbone):
    """Atoms and edges that update each other, with three-body terms; one readout after the last block.

    C. Chen and S. P. Ong, Nat. Comput. Sci. 2, 718 (2022), in the dialects of MatGL and of MatterSim (H. Yang et
    al., arXiv:2405.04967).
    """

    name = "m3gnet"

    def __init__(self, config: M3GNetConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config, first=layer == 0) for layer in range(config.layers))
        self.readout = Readout(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `M3GNetConfig`."""
        return cls(read_config(M3GNetConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = M3GNetConfig(
            species=("H", "O"), features=8, units=8, layers=2, max_l=3, max_n=2, cutoff=3.0, threebody_cutoff=2.5
        )
        return to_json(config)

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, after the last block; a pruned model applies it to the features of an earlier one."""
        return {len(self.layers): self.readout}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}
