"""Layers of NequIP whose messages are never written to memory.

Irreps have different numbers of channels, and products of one number. Channels are therefore taken in strips, in
each of which the same irreps have channels: of 128x0e+64x1o+32x2e the first 32 with all irreps, 32 more with two,
and 64 with scalars alone. Each strip is a product of its own; a path begins in one irrep, so nothing is lost.

Shapes: N atoms read, n atoms written, m components, C channels, P paths, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block, EdgeBlock, Form, TabulatedFunction
from halocline.aggregation.edges import row_starts
from halocline.model import Stage, State, Work
from halocline.plugins.backbones.nequip.radial import RadialNetwork
from halocline.plugins.backbones.nequip.stages import Layer
from halocline.plugins.equivariance import Irrep, Path, Space, UnevenProduct, paths
from halocline.plugins.fused import FEWEST_CHANNELS, product
from halocline.plugins.fused.panels import spline_grid, spline_panels
from halocline.plugins.fused.product import FusedProduct
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel


@final
class FusedNequIP(Kernel):
    """Messages that are never written down, strip by strip of channels.

    Solid harmonics (`NequIPConfig.solid`) are left as they are: the operators have those of directions.
    """

    version = 1
    forms = frozenset({Form.EDGES})
    operators = product.OPERATORS

    def suits(self, stage: Stage) -> bool:
        """Whether it is a layer of NequIP with harmonics of directions."""
        return isinstance(stage, Layer) and not stage.solid

    def pays(self, stage: Stage) -> bool:
        """Whether there is enough to compute for each edge."""
        assert isinstance(stage, Layer)
        return max(stage.before.channels) >= FEWEST_CHANNELS

    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """See `Kernel.replace`."""
        del form
        assert isinstance(stage, Layer)
        return FusedLayer(stage, precision.torch, device)


class Strip(NamedTuple):
    """Channels in which the same irreps take part.

    Attributes:
        channels: the first of them, and the one after the last.
        left: places of the irreps that have them, among those of the features.
        out: places of the irreps that they lead to, among those of the results.
        paths: numbers of the paths of its product, in the order of that, among those of the whole.
        ends: for each of ``out``, how many of ``paths`` lead to it.
    """

    channels: tuple[int, int]
    left: list[int]
    out: list[int]
    paths: list[int]
    ends: list[int]

    @property
    def width(self) -> int:
        """C."""
        return self.channels[1] - self.channels[0]


def strips(before: Space, harmonics: Sequence[Irrep], after: Sequence[Irrep]) -> list[Strip]:
    """Those of a product of features with harmonics, of which some irreps are kept."""
    whole = paths(before.irreps, harmonics, after)
    found = []
    for channels in pairwise([0, *sorted(set(before.channels))]):
        left = [place for place, count in enumerate(before.channels) if count >= channels[1]]
        out = [k for k in range(len(after)) if any(path.left in left and path.out == k for path in whole)]
        own = paths([before.irreps[i] for i in left], harmonics, [after[k] for k in out])
        numbers = [whole.index(Path(left[path.left], path.right, out[path.out])) for path in own]
        ends = [sum(path.out == k for path in own) for k in range(len(out))]
        found.append(Strip(channels, left, out, numbers, ends))
    return found


@final
class FusedLayer(Stage):
    """The same as `Layer`, for flat edges without padding.

    Weights of radial functions, and rows of what mixes sums, are put in the order of strips, and the divisor of
    sums is in the latter.

    Args:
        plain: the layer, in float64, which is changed and used on.
        dtype: that it will be cast to.
        device: kind of device that it will run on.

    Raises:
        KernelError: the products cannot be compiled.
    """

    profiled_as: ClassVar = {"forward": Work.UPDATE, "_sums": Work.MESSAGES}

    def __init__(self, plain: Layer, dtype: torch.dtype, device: str) -> None:
        super().__init__()
        self.spec, self.plain = plain.spec, plain
        harmonics, after = plain.harmonics, plain.product.out
        self.strips = strips(plain.before, harmonics, after)
        self.products = [
            FusedProduct(
                [plain.before.irreps[i] for i in strip.left], harmonics, [after[k] for k in strip.out], strip.width
            )
            for strip in self.strips
        ]
        tabulated = isinstance(plain.weights, TabulatedFunction)
        for each in self.products:
            each.prepare(dtype, device, tabulated=tabulated)
        columns = [_columns(strip, strip.paths, plain.product.widths) for strip in self.strips]
        self.grid = spline_grid(plain.weights) if isinstance(plain.weights, TabulatedFunction) else (0.0, 0.0)
        self.radial = nn.ParameterList(
            nn.Parameter(_radial(plain.weights, own, strip.width), requires_grad=False)
            for strip, own in zip(self.strips, columns, strict=True)
        )
        for place, weight in enumerate(plain.down.weights):
            rows = _rows(self.strips, plain.product, place)
            plain.down.weights[place] = nn.Parameter(weight.detach()[rows] / plain.denominator)

    def forward(self, state: State, *blocks: Block) -> State:
        """See `Layer.forward`."""
        (block,) = blocks
        assert isinstance(block, EdgeBlock)
        return self.plain.updated(state, block, self._sums(block, self.plain.sent(state)))

    def _sums(self, block: EdgeBlock, sent: Sequence[Tensor]) -> list[Tensor]:
        """Messages summed at their receivers, (n, 2l + 1, C) of each irrep, channels in the order of strips."""
        starts = row_starts(block.receivers, block.n_out) if block.row_starts is None else block.row_starts
        network, hidden = self.plain.weights, None
        if isinstance(network, RadialNetwork):
            hidden = block.radial_of_pairs(network.hidden)
        of_edges = None if block.pairs is None else block.pair_of
        outer = [part.transpose(0, 1) for part in sent]
        sums: list[list[Tensor]] = [[] for _ in self.plain.down.weights]
        for strip, fused, radial in zip(self.strips, self.products, self.radial, strict=True):
            x = torch.cat([outer[place][..., slice(*strip.channels)] for place in strip.left])
            if hidden is None:
                found = fused.tabulated(x, block.vectors, radial, self.grid, block.senders, starts)
            else:
                found = fused.weighted(x, block.vectors, hidden @ radial, block.senders, starts, of_edges)
            for place, result in zip(strip.out, self._apart(found, strip, block.n_out), strict=True):
                sums[place].append(result)
        return [torch.cat(each, -1).transpose(0, 1) for each in sums]

    def _apart(self, found: Tensor, strip: Strip, n: int) -> list[Tensor]:
        """What a product gives, (2l + 1, n, C) of each irrep that it leads to."""
        dimensions = [self.plain.product.out[place].dimension for place in strip.out]
        sizes = [dimension * count * n for dimension, count in zip(dimensions, strip.ends, strict=True)]
        return [
            part.view(dimension, n, count * strip.width)
            for part, dimension, count in zip(torch.split(found, sizes), dimensions, strip.ends, strict=True)
        ]


def _columns(strip: Strip, chosen: Sequence[int], widths: Sequence[int]) -> list[int]:
    """Channels of a strip in some paths, among those of paths of these widths one after the other."""
    begins = list(accumulate(widths, initial=0))
    return [begins[path] + channel for path in chosen for channel in range(*strip.channels)]


def _rows(found: Sequence[Strip], plain: UnevenProduct, place: int) -> list[int]:
    """Which of the sums that lead to an irrep, as the plain product has them, those of strips are, in order."""
    first, end = plain.ends[place]
    rows = []
    for strip in found:
        chosen = [path - first for path in strip.paths if first <= path < end]
        rows += _columns(strip, chosen, plain.widths[first:end])
    return rows


def _radial(function: nn.Module, columns: Sequence[int], channels: int) -> Tensor:
    """Some functions of a table as operators take them; of a network, the weights that make them, (H, P · C)."""
    if isinstance(function, TabulatedFunction):
        kept = function.to_keep()
        coefficients, last = kept.coefficients[..., columns], kept.last[:, columns]
        return spline_panels(TabulatedFunction(coefficients, last, function.start, function.end), channels)
    assert isinstance(function, RadialNetwork)
    last_layer = function.layers[-1]
    assert isinstance(last_layer, nn.Linear)
    return last_layer.weight.detach()[columns].T.contiguous()
