"""ORB as a backbone.

M. Neumann et al., "Orb: a fast, scalable neural network potential", arXiv:2410.22570 (2024); B. Rhodes et al.,
"Orb-v3: atomistic simulation at scale", arXiv:2504.06231 (2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

from torch import Tensor, nn

from halocline.model import Backbone, Condition, PooledHead, Stage
from halocline.model.backbone import Output
from halocline.model.config import read_config, to_json
from halocline.plugins.backbones.orb.config import ORBConfig
from halocline.plugins.backbones.orb.head import MeanHead
from halocline.plugins.backbones.orb.of_atoms import weights_of_atoms
from halocline.plugins.backbones.orb.stages import Embedding, Layer, Readout

#: Charges, in e, and spin multiplicities that may be told; the data of the published models are within.
_MOST = 100


@final
class ORB(Backbone):
    """Directed edges with state, messages to both their ends, and energies of the mean of features.

    Neumann et al. (2024) and Rhodes et al. (2025). Its energy changes when a structure is turned: directions of
    edges are read as they are, and that the axes do not matter was learned, not built in.
    """

    name = "orb"
    invariant = False
    numbered_weights = ("embed.table.weight",)

    def __init__(self, config: ORBConfig) -> None:
        super().__init__()
        self.config, self.species = to_json(config), config.species
        self.outputs = _outputs(config)
        if config.charged:
            self.conditions = (
                Condition(name="charge", kind="integer", least=-_MOST, most=_MOST),
                Condition(name="spin", kind="integer", least=0, most=_MOST),
            )
        self.embed = Embedding(config)
        last = config.layers - 1
        self.layers = nn.ModuleList(Layer(config, first=i == 0, last=i == last) for i in range(last + 1))
        self.readout = Readout(config)
        self.mean = MeanHead(config) if config.energy == "mean" else None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Backbone.from_config` and `ORBConfig`."""
        return cls(read_config(ORBConfig, config, cls.name))

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """See `Backbone.example_config`."""
        config = ORBConfig(
            species=("H", "O"),
            features=4,
            hidden=6,
            head_hidden=4,
            layers=2,
            neighbours=6,
            cutoff=3.0,
        )
        return to_json(config)

    @property
    def readouts(self) -> dict[int, Stage]:
        """One readout, after the last layer; a pruned model applies it to the features of an earlier one."""
        return {len(self.layers): self.readout}

    @property
    def pooled_head(self) -> PooledHead | None:
        """See `Backbone.pooled_head`."""
        return self.mean

    def pruned_config(self, layers: int) -> dict[str, Any]:
        """See `Backbone.pruned_config`."""
        return self.config | {"layers": layers}

    def energies_of_atoms_config(self) -> dict[str, Any]:
        """See `Backbone.energies_of_atoms_config`."""
        return self.config | {"energy": "atoms", "forces": "conservative", "stress": False}

    def energies_of_atoms_weights(self) -> dict[str, Tensor]:
        """See `Backbone.energies_of_atoms_weights`."""
        return weights_of_atoms(self.state_dict())


def _outputs(config: ORBConfig) -> tuple[Output, ...]:
    outputs = [Output.ENERGIES]
    if not config.is_conservative:
        outputs.append(Output.FORCES)
        if config.stress and config.repulsion:
            outputs.append(Output.VIRIALS)
    if config.energy == "mean":
        outputs.append(Output.POOLED)
    return tuple(outputs)
