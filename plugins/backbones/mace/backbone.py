"""MACE as a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

from torch import Tensor, nn

from halocline.model import Backbone, Condition, Stage
from halocline.model.channels import Channels
from halocline.model.condition import HEAD, energies_of_heads
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.mace.channels import channels_of
from halocline.plugins.backbones.mace.config import MACEConfig
from halocline.plugins.backbones.mace.stages import Embedding, Layer, Readout


@final
class MACE(Backbone):
    """Equivariant messages, multiplied with themselves to many-body terms; a readout after every layer.

    I. Batatia et al., NeurIPS 2022 (arXiv:2206.07697), in the blocks of the foundation models: I. Batatia et al.,
    arXiv:2401.00096.
    """

    name = "mace"

    def __init__(self, config: MACEConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        if config.heads:
            head = Condition(name=HEAD, kind="choice", choices=config.heads, default=config.default_head)
            self.conditions = (head,)
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config, number, self.embed) for number in range(config.layers))
        self.heads = nn.ModuleList(self._readout(config, number) for number in range(config.layers))

    @staticmethod
    def _readout(config: MACEConfig, number: int) -> Readout:
        perceptron = number == config.layers - 1 and config.last_readout == "perceptron"
        return Readout(
            config,
            hidden=config.readout_units if perceptron else None,
            repulsion=config.repulsion and number == 0,
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `MACEConfig`."""
        return cls(read_config(MACEConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = MACEConfig(
            species=("H", "O"),
            channels=4,
            hidden_degree=1,
            max_degree=2,
            correlation=3,
            cutoff=3.0,
            bessels=4,
            radial_units=(8,),
            readout_units=4,
            average_neighbours=6.0,
        )
        return to_json(config)

    @property
    def head_energies(self) -> dict[str, dict[str, float]]:
        """See `Backbone.head_energies`."""
        return energies_of_heads(self.config, self.species)

    def one_head_config(self, head: str) -> dict[str, Any]:
        """See `Backbone.one_head_config`."""
        scale = self.config["head_scales"][self.config["heads"].index(head)]
        none: dict[str, Any] = {"heads": [], "default_head": None, "head_scales": [], "head_energies": []}
        return self.config | none | {"scale": scale}

    def one_head_weights(self, head: str) -> dict[str, Tensor]:
        """See `Backbone.one_head_weights`. Readouts have rows for each head, which read their own hidden ones."""
        number, count = self.config["heads"].index(head), len(self.config["heads"])
        return {
            name: t.chunk(count)[number].clone() if name.startswith("heads.") else t
            for name, t in self.state_dict().items()
        }

    @property
    def readouts(self) -> dict[int, Stage]:
        """One after every layer."""
        return {number + 1: head for number, head in enumerate(self.heads) if isinstance(head, Stage)}

    @property
    def channels(self) -> tuple[Channels, ...]:
        """See `Backbone.channels`."""
        layers = [layer for layer in self.layers if isinstance(layer, Layer)]
        heads = [head for head in self.heads if isinstance(head, Readout)]
        return channels_of(self.config["channels"], layers, heads)

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`. The readout of a layer that was not the last one is linear."""
        last = self.config["last_readout"] if layers == len(self.layers) else "linear"
        return self.config | {"layers": layers, "last_readout": last}

    def pruned_weights(self, layers: int) -> dict[str, Tensor]:
        """See `Backbone.pruned_weights`. What becomes the last layer leaves scalars behind and nothing else."""
        last, config = f"layers.{layers - 1}.", read_config(MACEConfig, self.pruned_config(layers), self.name)
        dropped = tuple(f"heads.{number}." for number in range(layers, len(self.heads))) + tuple(
            f"{last}{module}.weights.{degree}"
            for module in ("contraction", "mix")
            for degree in range(1, config.hidden_degree + 1)
        )
        kept = {name: t for name, t in super().pruned_weights(layers).items() if not name.startswith(dropped)}
        if config.residual(layers - 1):
            kept[f"{last}skip.weight"] = kept[f"{last}skip.weight"][:, :1].clone()
        return kept
