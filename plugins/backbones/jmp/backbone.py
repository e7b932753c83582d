"""JMP as a backbone.

N. Shoghi, A. Kolluru, J. R. Kitchin, Z. W. Ulissi, C. L. Zitnick and B. M. Wood, "From molecules to materials:
pre-training large generalizable models for atomic property prediction", ICLR 2024, arXiv:2310.16802; its network
is GemNet-OC, J. Gasteiger, M. Shuaibi, A. Sriram, S. Günnemann, Z. Ulissi, C. L. Zitnick and A. Das, TMLR 2022,
arXiv:2204.02782.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

from torch import Tensor, nn

from halocline.model import Backbone, Stage
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.jmp.config import JMPConfig
from halocline.plugins.backbones.jmp.stages import Embedding, Layer, Readout


@final
class JMP(Backbone):
    """Edges and atoms that update each other, by pairs and chains of edges; energies of what all blocks tell.

    Gasteiger et al. (2022) and Shoghi et al. (2024).
    """

    name = "jmp"
    numbered_weights = ("embed.table.weight",)

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.layers))
        self.readout = Readout(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `JMPConfig`."""
        return cls(read_config(JMPConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = JMPConfig(
            species=("H", "O"),
            layers=2,
            atom=3,
            edge=4,
            triplet_in=2,
            triplet_out=2,
            quadruplet_in=2,
            quadruplet_out=2,
            pair_in=2,
            pair_out=2,
            radial=2,
            angular=2,
            dihedral=2,
            gaussians=6,
            degrees=2,
            before_skip=1,
            after_skip=0,
            atom_layers=0,
            concat_layers=0,
            update_layers=0,
            output_layers=1,
            final_layers=0,
            head_layers=1,
            cutoff=3.0,
            main=4,
            mixed=4,
            close=2,
            pairs=4,
            softness=0.3,
        )
        return to_json(config)

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, of what all blocks have told; a pruned model lacks what later ones would."""
        return {len(self.layers): self.readout}

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}

    def pruned_weights(self, layers: int) -> dict[str, Tensor]:
        """See `Backbone.pruned_weights`. What began the first layer that goes ends the last one that stays."""
        weights = super().pruned_weights(layers)
        if layers == len(self.layers):
            return weights
        began, ends = f"layers.{layers}.before.", f"layers.{layers - 1}.after."
        moved = {name: tensor for name, tensor in self.state_dict().items() if name.startswith(began)}
        return weights | {ends + name.removeprefix(began): tensor for name, tensor in moved.items()}
