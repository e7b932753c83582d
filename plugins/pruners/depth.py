"""Keep the first layers of a backbone and the readouts that belong to them.

Message-passing pruning as in L. Kong, J. Shim, G. Hu and V. Fung, arXiv:2509.21694.
"""

from __future__ import annotations

from typing import final

from halocline.errors import UsageError
from halocline.model.backbone import Backbone
from halocline.model.build import build_with_weights
from halocline.model.pruner import Pruner, PruningReport


@final
class DepthPruner(Pruner):
    """Cut a backbone after its first layers.

    Args:
        layers: how many layers to keep, at least one.
    """

    example = "layers=1"

    def __init__(self, layers: int) -> None:
        self.layers = layers

    def prune(self, backbone: Backbone) -> tuple[Backbone, PruningReport]:
        """See `Pruner.prune`.

        Raises:
            UsageError: the backbone does not have that many layers.
            BackboneError: the weights that it hands over do not fit the pruned model.
        """
        if not 1 <= self.layers <= len(backbone.layers):
            raise UsageError(
                f"Cannot keep {self.layers} layers of a model that has {len(backbone.layers)}; "
                f"choose between 1 and {len(backbone.layers)}."
            )
        pruned = build_with_weights(
            backbone,
            backbone.pruned_config(self.layers),
            backbone.pruned_weights(self.layers),
            "pruned_weights and pruned_config differ; override pruned_weights so that they agree",
        )
        return pruned, PruningReport.compare(backbone, pruned)
