"""Layers of MACE as fused operators."""

from __future__ import annotations

from typing import final

from halocline.aggregation import Form
from halocline.errors import KernelError
from halocline.model.stage import Stage
from halocline.plugins.backbones.mace.stages import Layer, Readout
from halocline.plugins.fused import FEWEST_CHANNELS, contraction, density, maps, product
from halocline.plugins.fused.operators import prepare
from halocline.plugins.fused.polynomials import BLOCK, Shape
from halocline.plugins.kernels.mace_layer import FusedLayer
from halocline.plugins.kernels.mace_readout import AnalyticReadout
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel


@final
class FusedMACE(Kernel):
    """Messages that are never written down, products as polynomials, and linear maps without copies."""

    version = 2
    forms = frozenset({Form.EDGES})
    operators = (*contraction.OPERATORS, *maps.OPERATORS, *product.OPERATORS, *density.OPERATORS)

    def suits(self, stage: Stage) -> bool:
        """Whether it is a layer of MACE, or a readout."""
        return isinstance(stage, Layer | Readout)

    def pays(self, stage: Stage) -> bool:
        """Whether there is enough to compute for each atom; readouts gain nothing where layers are plain."""
        assert isinstance(stage, Layer | Readout)
        channels = _channels(stage)
        return channels >= FEWEST_CHANNELS and (isinstance(stage, Layer) or not channels % BLOCK)

    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """See `Kernel.replace`."""
        del form
        if isinstance(stage, Readout):
            return AnalyticReadout(stage)
        assert isinstance(stage, Layer)
        if stage.channels % BLOCK:
            raise KernelError(f"it has {stage.channels} channels, and only multiples of {BLOCK} are worked on")
        shape = Shape(stage.max_degree, len(stage.after) - 1, stage.contraction.order)
        prepare(device, "maps")
        if device == "cpu":
            contraction.compiled(shape, precision.torch)
        return FusedLayer(stage, shape, precision.torch, device)


def _channels(stage: Layer | Readout) -> int:
    if isinstance(stage, Layer):
        return stage.channels
    return (stage.out if stage.hidden is None else stage.hidden).in_features
