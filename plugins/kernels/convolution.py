"""Convolutions in one pass over the edges, in whatever stage they occur."""

from __future__ import annotations

from typing import Final, final

from torch import Tensor

from halocline.aggregation import EdgeBlock, EdgeConvolution, Form, RadialFunction, TabulatedFunction
from halocline.model.stage import Stage
from halocline.plugins.fused import FEWEST_CHANNELS, table_convolution, weighted_convolution
from halocline.plugins.fused.edges import ORDER_BY_SENDER
from halocline.plugins.fused.operators import prepare
from halocline.plugins.fused.rows import padded, rows_of
from halocline.plugins.fused.table_convolution import convolve_table
from halocline.plugins.fused.weighted_convolution import convolve_weighted, pairs_of
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel

OPERATORS: Final = (ORDER_BY_SENDER, *table_convolution.OPERATORS, *weighted_convolution.OPERATORS)

#: Slopes of many channels cancel: in float32, of the largest of their sums more than the last digits are rounding.
TOLERANCES: Final = {Precision.FLOAT64: 1e-11, Precision.FLOAT32: 5e-5}


@final
class Convolution(Kernel):
    """Compiled operators run `Block.convolve` wherever its weights are a `RadialFunction`, exact or tabulated."""

    version = 1
    general = True
    forms = frozenset({Form.EDGES})
    tolerances = TOLERANCES
    operators = OPERATORS

    def suits(self, stage: Stage) -> bool:
        """Whether there are radial functions in it that are the same for all pairs of atoms."""
        return any(isinstance(module, RadialFunction) and module.pairs is None for module in stage.modules())

    def pays(self, stage: Stage) -> bool:
        """Whether there is enough to compute for each edge."""
        channels = [module.channels for module in stage.modules() if isinstance(module, RadialFunction)]
        return max(channels, default=0) >= FEWEST_CHANNELS

    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """See `Kernel.replace`."""
        del form, precision
        return convolving(stage, device)

    def took_part(self, stage: Stage) -> bool:
        """Whether the stage convolved with one of them."""
        return any(isinstance(module, _Convolved) and module.took_part for module in stage.modules())


def convolving(stage: Stage, device: str) -> Stage:
    """The stage, in which radial functions that are the same for all pairs of atoms convolve in one pass.

    Args:
        stage: which is changed.
        device: kind of device that it will run on.

    Raises:
        KernelError: the operators cannot be compiled here.
    """
    prepare(device, "convolution", "edges")
    for path, module in list(stage.named_modules()):
        if isinstance(module, RadialFunction) and module.pairs is None:
            stage.set_submodule(path, _convolved(module))
    return stage


def _convolved(function: RadialFunction) -> _Convolved:
    return FromTable(function) if isinstance(function, TabulatedFunction) else Exact(function)


class _Convolved(EdgeConvolution):
    """A radial function that is what it was, but for convolutions.

    Args:
        function: that it stands for.

    Attributes:
        took_part: whether a block has convolved with it.
    """

    def __init__(self, function: RadialFunction) -> None:
        super().__init__()
        self.function, self.took_part = function, False
        self.start, self.end, self.channels = function.start, function.end, function.channels

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """See `RadialFunction.forward`."""
        return self.function(distances, numbers)


@final
class Exact(_Convolved):
    """Any radial function; what it is on edges or pairs is convolved with."""

    def convolve_edges(self, values: Tensor, block: EdgeBlock) -> Tensor:
        """See `EdgeConvolution.convolve_edges`."""
        self.took_part = True
        pairs = pairs_of(block)
        weights = block.radial(self.function) if pairs is None else block.radial_of_pairs(self.function)
        return convolve_weighted(values, weights, pairs, block.receivers, *rows_of(block))


@final
class FromTable(_Convolved):
    """A table, which is convolved with as it is.

    Args:
        function: that all pairs of atoms share.
    """

    wide: Tensor  # (4 (K + 2), C'), the table with whole vectors of channels
    grid: Tensor  # (2,), as of `convolve_table`

    def __init__(self, function: TabulatedFunction) -> None:
        super().__init__(function)
        self.register_buffer("wide", padded(function.table))
        self.register_buffer("grid", function.table.new_tensor([function.start, function.per_length]))

    def convolve_edges(self, values: Tensor, block: EdgeBlock) -> Tensor:
        """See `EdgeConvolution.convolve_edges`."""
        self.took_part = True
        return convolve_table(values, block.vectors, self.wide, self.grid, *rows_of(block))
