"""A layer of MACE that is put together from fused operators.

Shapes: N atoms read, n atoms written, m components, C channels. Components are outermost here; the state has a
view of them in the order that stages agree on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from halocline.aggregation import Block, EdgeBlock
from halocline.model import State, Work
from halocline.model.condition import HEAD
from halocline.plugins.backbones.mace.stages import Layer
from halocline.plugins.fused import contraction
from halocline.plugins.fused.contraction import contracted
from halocline.plugins.fused.maps import IrrepMaps
from halocline.plugins.fused.polynomials import Shape, coefficients
from halocline.plugins.kernels.mace_messages import messages
from halocline.program.analytic import AnalyticStage, Pull


@final
class FusedLayer(AnalyticStage):
    """The same as `Layer`, for flat edges without padding.

    Linear maps that follow one another are one: what mixes the sums of messages has their divisor in it, and in
    agnostic blocks the matrices of the species.

    Args:
        plain: the layer, in float64, whose radial functions and repulsion are used on.
        shape: of its contraction.
        dtype: that it will be cast to.
        device: kind of device that it will run on.

    Attributes:
        native: whether its operators are native code.

    Raises:
        KernelError: the messages cannot be compiled.
    """

    profiled_as: ClassVar = {
        "forward": Work.UPDATE,
        "messages": Work.MESSAGES,
        "density": Work.RADIAL,
        "repulsion": Work.RADIAL,
    }
    numbers: Tensor

    def __init__(self, plain: Layer, shape: Shape, dtype: torch.dtype, device: str) -> None:
        super().__init__()
        self.spec, self.shape, self.native = plain.spec, shape, device == "cpu"
        self.basis, self.density, self.repulsion = plain.basis, plain.density, plain.repulsion
        self.register_buffer("numbers", coefficients(plain.contraction, shape), persistent=False)
        skips = list(plain.skip.weight.detach().unbind(1))
        divisor = 1.0 if plain.density else plain.average
        down = [weight.detach()[None] / divisor for weight in plain.down.weights]
        if not plain.residual:
            down = [before @ skip for before, skip in zip(down, skips, strict=True)]
        self.messages = messages(plain, down, dtype, device)
        before, after = ([2 * degree + 1 for degree in range(len(each))] for each in (plain.before, plain.after))
        skipped = min(len(before), len(after)) if plain.residual else 0
        mix = [weight[None] for weight in plain.mix.weights]
        self.out = IrrepMaps(mix, after, skips[:skipped], before[:skipped])

    def linearized(self, state: State, *blocks: Block) -> tuple[State, Pull] | None:
        """See `AnalyticStage.linearized`. Radial networks, densities, repulsion and GPUs are left to autograd."""
        (block,) = blocks
        left = self.density is not None or self.repulsion is not None or not self.native
        if left or not isinstance(block, EdgeBlock) or block.mask is not None:
            return None
        own, features = _own(state, block), state.atoms["features"].transpose(0, 1).contiguous()
        rows, own_rows = state.atoms["rows"], own["rows"]
        messages = self.messages.linearized(block, features, rows, own_rows)
        if messages is None:
            return None
        sums, pull_messages = messages
        products = contraction.values(sums, self.numbers, own_rows, *self.shape)

        def pull(cotangents: Mapping[str, Tensor], by_vectors: Tensor, *, by_state: bool) -> dict[str, Tensor]:
            gradient, skipped = cotangents["features"].transpose(0, 1), features.shape if by_state else (0,)
            by_products, by_skipped = self.out.pulled(gradient, own_rows, products.shape, skipped)
            by_sums = contraction.pulls(by_products, sums, self.numbers, own_rows, *self.shape)
            by_sent = pull_messages(by_sums, by_vectors, by_features=by_state)
            found = [each for each in (by_sent, by_skipped) if each is not None and each.ndim > 1]
            return {"features": sum(found[1:], found[0]).transpose(0, 1)} if found else {}

        mixed = self.out.values(products, own_rows, features)
        return State(own | {"features": mixed.transpose(0, 1)}, {}), pull

    def forward(self, state: State, *blocks: Block) -> State:
        """See `Layer.forward`."""
        (block,) = blocks
        assert isinstance(block, EdgeBlock)
        own = _own(state, block)
        features, rows = state.atoms["features"].transpose(0, 1), state.atoms["rows"]
        sums = self.messages(block, features, rows, own["rows"])
        if self.density is not None:
            density = torch.tanh(block.radial(self.density, rows) ** 2)
            sums = sums / (block.sum(density) + 1.0)
        products = contracted(sums, self.numbers, own["rows"], self.shape)
        mixed = self.out(products, own["rows"], features)
        atoms = own | {"features": mixed.transpose(0, 1)}
        if self.repulsion is not None:
            atoms["repulsion"] = self.repulsion(block, state.atoms["charges"], state.atoms["radii"])
        return State(atoms, {})


def _own(state: State, block: EdgeBlock) -> dict[str, Tensor]:
    """What atoms that are written keep of their state."""
    kept = ("rows", "radii", "charges", HEAD)
    return {name: block.targets(state.atoms[name]) for name in kept if name in state.atoms}
