"""NequIP as a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

from torch import Tensor, nn

from halocline.model import Backbone, Condition, Stage
from halocline.model.condition import HEAD, energies_of_heads
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.nequip.config import SCALAR, NequIPConfig
from halocline.plugins.backbones.nequip.stages import Embedding, Layer, Readout

#: Weights that have a row for each head.
_OF_HEADS = ("offsets",)


@final
class NequIP(Backbone):
    """Convolutions of equivariant features with harmonics, gated; one readout after the last.

    S. Batzner et al., Nat. Commun. 13, 2453 (2022), in the forms of SevenNet (Y. Park et al., J. Chem. Theory
    Comput. 20, 4857 (2024)) and Nequix (T. Koker et al., arXiv:2508.16067).
    """

    name = "nequip"

    def __init__(self, config: NequIPConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        if config.heads:
            head = Condition(name=HEAD, kind="choice", choices=config.heads, default=config.default_head)
            self.conditions = (head,)
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.layers))
        self.readout = Readout(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `NequIPConfig`."""
        return cls(read_config(NequIPConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = NequIPConfig(
            species=("H", "O"),
            irreps="4x0e+3x1o",
            embedding=4,
            layers=2,
            max_degree=1,
            cutoff=3.0,
            bessels=4,
            radial_units=(8,),
            denominator=3.0,
        )
        return to_json(config)

    @property
    def readouts(self) -> dict[int, Stage]:
        """One after the last layer."""
        return {len(self.layers): self.readout}

    @property
    def head_energies(self) -> dict[str, dict[str, float]]:
        """See `Backbone.head_energies`."""
        return energies_of_heads(self.config, self.species)

    def one_head_config(self, head: str) -> dict[str, Any]:
        """See `Backbone.one_head_config`."""
        del head
        none: dict[str, Any] = {"heads": [], "default_head": None, "head_energies": []}
        return self.config | none

    def one_head_weights(self, head: str) -> dict[str, Tensor]:
        """See `Backbone.one_head_weights`."""
        number = self.config["heads"].index(head)
        return {
            name: t[number : number + 1].clone() if name.endswith(_OF_HEADS) else t
            for name, t in self.state_dict().items()
        }

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}

    def pruned_weights(self, layers: int) -> dict[str, Tensor]:
        """See `Backbone.pruned_weights`. What becomes the last layer leaves scalars, without gates, and no more.

        The readout stays: it reads as many scalars, of a layer that it was not fitted to.
        """
        kept = super().pruned_weights(layers)
        if layers == len(self.layers):
            return kept
        last, config = f"layers.{layers - 1}.", read_config(NequIPConfig, self.config, self.name)
        scalars, layer = config.features.of(SCALAR), self.layers[layers - 1]
        assert isinstance(layer, Layer)
        start, end = layer.product.ends[layer.scalars_after]
        first, paths = sum(layer.product.widths[:start]), layer.product.inputs[layer.scalars_after]
        assert end > start
        radial = f"{last}weights.layers.{len(layer.weights.layers) - 1}.weight"
        kept[radial] = kept[radial][first : first + paths].clone()
        skipped = sum(layer.kept[: layer.scalars_after])
        for module, place in (("down", layer.scalars_after), ("skip", skipped), ("norm", layer.scalars_after)):
            mine = [name for name in kept if name.startswith(f"{last}{module}.weights.")]
            if mine:
                weight = kept[f"{last}{module}.weights.{place}"][..., :scalars].clone()
                for name in mine:
                    del kept[name]
                kept[f"{last}{module}.weights.0"] = weight
        if config.biased:
            kept[f"{last}summed_offsets"] = kept[f"{last}summed_offsets"][:, :scalars].clone()
        return kept
