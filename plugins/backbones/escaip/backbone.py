"""EScAIP as a backbone.

E. Qu and A. S. Krishnapriyan, "The importance of being scalable: improving the speed and accuracy of neural
network interatomic potentials across chemical domains", NeurIPS 2024, arXiv:2410.24169.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

from torch import Tensor, nn

from halocline.model import Backbone, Stage
from halocline.model.backbone import Output
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.escaip.config import EScAIPConfig
from halocline.plugins.backbones.escaip.stages import NOT_IN_LAST, Embedding, Layer, Readout


@final
class EScAIP(Backbone):
    """Attention among the edges of each atom; energies of what all layers have added up.

    Qu and Krishnapriyan, NeurIPS 2024.
    """

    name = "escaip"

    def __init__(self, config: EScAIPConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.layers))
        self.readout = Readout(config)
        self.direct = config.direct
        if config.direct:
            self.outputs, self.invariant = (Output.ENERGIES, Output.FORCES), False
        stages = ("layers.0.start", *(f"layers.{number}" for number in range(config.layers)))
        self.numbered_weights = tuple(
            f"{stage}.attributes.{end}.table.weight" for stage in stages for end in ("source", "target")
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `EScAIPConfig`."""
        return cls(read_config(EScAIPConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = EScAIPConfig(
            species=("H", "O"),
            hidden=8,
            heads=2,
            layers=2,
            frequencies=(3, 1),
            embedding=3,
            orders=2,
            order_embedding=3,
            gaussians=6,
            distance_embedding=5,
            cutoff=4.5,
            nearest=6,
            capacity=30,
            softness=0.3,
            sharpness=0.3,
        )
        return to_json(config)

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, of what all layers have added up; a pruned model lacks what later ones would add."""
        return {len(self.layers): self.readout}

    @property
    def rank_remark(self) -> str:
        """See `Backbone.rank_remark`: ranks are smooth, but as upstream has it means over neighbours are not.

        Each nearer neighbour counts a half at least, and the atom itself: what is left out of 2k - 1 has rank k.
        """
        remarks = []
        if not self.config["smooth"]:
            remarks.append(
                "Means over neighbours count each that has any weight as one: energies jump where one comes."
            )
        if self.config["capacity"] < 2 * self.config["nearest"] - 1:
            remarks.append(
                f"Only the {self.config['capacity']} nearest neighbours are ranked, fewer than 2k - 1: where many "
                "are at one distance, energies jump as one comes."
            )
        return " ".join(remarks)

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}

    def pruned_weights(self, layers: int) -> dict[str, Tensor]:
        """See `Backbone.pruned_weights`.

        Nothing reads edges after what is now the last layer; or with direct forces it has what pulls at atoms.
        """
        weights = super().pruned_weights(layers)
        if layers == len(self.layers):
            return weights
        last = f"layers.{layers - 1}."
        if self.direct:
            pull = f"layers.{len(self.layers) - 1}.pull."
            moved = {name: tensor for name, tensor in self.state_dict().items() if name.startswith(pull)}
            return weights | {last + "pull." + name.removeprefix(pull): tensor for name, tensor in moved.items()}
        dropped = tuple(f"{last}{name}." for name in NOT_IN_LAST)
        return {name: tensor for name, tensor in weights.items() if not name.startswith(dropped)}
