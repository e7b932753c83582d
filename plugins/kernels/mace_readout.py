"""A readout of MACE that knows its derivative.

Shapes: n atoms, m components, C channels, U hidden units of a head, H heads, 1 where a model has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from halocline.aggregation import Block
from halocline.model import State
from halocline.model.condition import HEAD
from halocline.plugins.backbones.mace.stages import Readout
from halocline.program.analytic import AnalyticStage, Pull


@final
class AnalyticReadout(AnalyticStage):
    """A readout as it is, and its derivative.

    Args:
        plain: the readout.
    """

    def __init__(self, plain: Readout) -> None:
        super().__init__()
        self.spec, self.plain = plain.spec, plain

    def forward(self, state: State, *blocks: Block) -> State:
        """See `Readout.forward`."""
        return self.plain(state, *blocks)

    def linearized(self, state: State, *blocks: Block) -> tuple[State, Pull]:
        """See `AnalyticStage.linearized`."""
        del blocks
        plain, features = self.plain, state.atoms["features"]
        inputs = None if plain.hidden is None else plain.hidden(features[:, 0])

        def pull(cotangents: Mapping[str, Tensor], by_vectors: Tensor, *, by_state: bool) -> dict[str, Tensor]:
            del by_vectors
            if not by_state:
                return {}
            said = cotangents["energies"].unsqueeze(1)
            said = said * (plain.scales.index_select(0, state.atoms[HEAD]) if plain.heads else plain.scale)
            by_features = features.new_zeros((features.shape[1], len(features), features.shape[2]))
            torch.mm(*self._pulled(said, inputs), out=by_features[0])
            found = {"features": by_features.transpose(0, 1)}
            return found | {"repulsion": said.sum(1)} if plain.repulsion else found

        return plain(state), pull

    def _pulled(self, said: Tensor, inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        """Two factors of the gradient by scalars (n, C), from one by what heads say (n, H).

        Args:
            said: that one.
            inputs: of hidden units, (n, H U), if there are such.
        """
        out = self.plain.out.weight
        if inputs is None or self.plain.hidden is None:
            return said, out
        by_units = (said.unsqueeze(2) * out).flatten(1)  # (n, H, U), each head having units of its own
        sigmoid = torch.sigmoid(inputs)
        slopes = sigmoid * (1.0 + inputs * (1.0 - sigmoid))
        return by_units * slopes, self.plain.hidden.weight
