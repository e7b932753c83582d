"""A layer of MACE that is put together from fused operators.

Shapes: N atoms read, n atoms written, m components, C channels. Components are outermost here; the state has a
view of them in the order that stages agree on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block, EdgeBlock, RadialFunction, TabulatedFunction
from halocline.aggregation.edges import row_starts
from halocline.model import Stage, State, Work
from halocline.model.condition import HEAD
from halocline.plugins.backbones.mace.stages import Layer
from halocline.plugins.equivariance import natural_irreps
from halocline.plugins.fused.contraction import contracted
from halocline.plugins.fused.maps import Maps, mapped
from halocline.plugins.fused.panels import spline_grid, spline_panels
from halocline.plugins.fused.polynomials import Shape, coefficients
from halocline.plugins.fused.product import FusedProduct


@final
class FusedLayer(Stage):
    """The same as `Layer`, for flat edges without padding.

    Linear maps that follow one another are one: what mixes the sums of messages has their divisor in it, and in
    agnostic blocks the matrices of the species.

    Args:
        plain: the layer, in float64, whose radial functions and repulsion are used on.
        shape: of its contraction.
    """

    profiled_as: ClassVar = {
        "forward": Work.UPDATE,
        "_sums": Work.MESSAGES,
        "weights": Work.RADIAL,
        "density": Work.RADIAL,
        "product": Work.MESSAGES,
        "repulsion": Work.RADIAL,
    }
    numbers: Tensor
    table: Tensor | None

    def __init__(self, plain: Layer, shape: Shape) -> None:
        super().__init__()
        self.spec, self.channels, self.shape = plain.spec, plain.channels, shape
        self.basis, self.density, self.repulsion = plain.basis, plain.density, plain.repulsion
        self.weights: RadialFunction = plain.weights
        before, between = natural_irreps(len(plain.before) - 1), natural_irreps(plain.max_degree)
        self.product = FusedProduct(before, between, between, self.channels)
        table = spline_panels(self.weights, self.channels) if isinstance(self.weights, TabulatedFunction) else None
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("numbers", coefficients(plain.contraction, shape), persistent=False)
        self.up, self.down, self.out = self._maps(plain)

    @staticmethod
    def _maps(plain: Layer) -> tuple[_Map, _Map, _Map]:
        """What is done before messages are sent, to their sums, and to the products of these."""
        sizes = [[2 * degree + 1 for degree in range(len(places))] for places in (plain.before, plain.after)]
        skips, skipped = list(plain.skip.weight.unbind(1)), min(map(len, sizes)) if plain.residual else 0
        divisor = 1.0 if plain.density else plain.average
        down = [weight[None] / divisor for weight in plain.down.weights]
        if not plain.residual:
            down = [before @ skip for before, skip in zip(down, skips, strict=True)]
        mix = [weight[None] for weight in plain.mix.weights]
        return (
            _Map([weight[None] for weight in plain.up.weights], sizes[0]),
            _Map(down, plain.contraction.sizes),
            _Map(mix, sizes[1], skips[:skipped], sizes[0][:skipped]),
        )

    def forward(self, state: State, *blocks: Block) -> State:
        """See `Layer.forward`."""
        (block,) = blocks
        kept = ("rows", "radii", "charges", HEAD)
        own = {name: block.targets(state.atoms[name]) for name in kept if name in state.atoms}
        features, rows = state.atoms["features"].transpose(0, 1), state.atoms["rows"]
        sums = self.down(self._sums(block, self.up(features, rows), rows), own["rows"])
        if self.density is not None:
            density = torch.tanh(block.radial(self.density, rows) ** 2)
            sums = sums / (block.sum(density) + 1.0)
        products = contracted(sums, self.numbers, own["rows"], self.shape)
        mixed = self.out(products, own["rows"], features)
        atoms = own | {"features": mixed.transpose(0, 1)}
        if self.repulsion is not None:
            atoms["repulsion"] = self.repulsion(block, state.atoms["charges"], state.atoms["radii"])
        return State(atoms, {})

    def _sums(self, block: Block, sent: Tensor, rows: Tensor) -> Tensor:
        """Messages summed at their receivers; the layout is that of `FusedProduct`."""
        assert isinstance(block, EdgeBlock)
        starts = row_starts(block.receivers, block.n_out) if block.row_starts is None else block.row_starts
        edges = block.senders, starts
        if self.table is None or not isinstance(self.weights, TabulatedFunction):
            weights = block.radial(self.weights, rows)
            return self.product.weighted(sent, block.vectors, weights, *edges)
        pairs, grid = self.weights.pairs, spline_grid(self.weights)
        kinds = None if pairs is None else rows
        return self.product.tabulated(sent, block.vectors, self.table, grid, *edges, kinds, pairs)


@final
class _Map(nn.Module):
    """Linear maps of the degrees that one or two arrays hold.

    Args:
        matrices: of the degrees of the first array, (1, K, C) or (S, K, C) each.
        sizes: of these degrees, 2l + 1.
        others: of the second array, from degree 0 on.
        other_sizes: of these.
    """

    matrices: Tensor

    def __init__(
        self,
        matrices: list[Tensor],
        sizes: list[int],
        others: Sequence[Tensor] = (),
        other_sizes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        every, firsts = [*matrices, *others], list(accumulate(sizes, initial=0))
        self.register_buffer("matrices", torch.cat([m.detach().flatten(0, 1) for m in every]), persistent=False)
        self._maps = Maps(
            (len(matrices), len(others)),
            (*sizes, *other_sizes),
            tuple(matrix.shape[1] for matrix in every),
            tuple(matrix.shape[0] for matrix in every),
            (*firsts[: len(matrices)], *firsts[: len(others)]),
        )

    def forward(self, first: Tensor, rows: Tensor, second: Tensor | None = None) -> Tensor:
        """See `mapped`."""
        return mapped(first, second if self._maps.parts[1] else None, self.matrices, rows, self._maps)
