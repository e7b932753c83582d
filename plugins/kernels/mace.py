"""Layers of MACE as fused operators on CPUs."""

from __future__ import annotations

from typing import final

from halocline.aggregation import Form
from halocline.errors import KernelError
from halocline.model.stage import Stage
from halocline.plugins.backbones.mace.stages import Layer
from halocline.plugins.fused import FEWEST_CHANNELS, contraction, density, maps, product
from halocline.plugins.fused.operators import compiled
from halocline.plugins.fused.polynomials import BLOCK, Shape
from halocline.plugins.kernels.mace_layer import FusedLayer
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel


@final
class FusedMACE(Kernel):
    """Messages that are never written down, products as polynomials, and linear maps without copies."""

    version = 1
    forms = frozenset({Form.EDGES})
    devices = ("cpu",)
    operators = (*contraction.OPERATORS, *maps.OPERATORS, *product.OPERATORS, *density.OPERATORS)

    def suits(self, stage: Stage) -> bool:
        """Whether it is a layer of MACE."""
        return isinstance(stage, Layer)

    def pays(self, stage: Stage) -> bool:
        """Whether there is enough to compute for each atom."""
        return isinstance(stage, Layer) and stage.channels >= FEWEST_CHANNELS

    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """See `Kernel.replace`."""
        del form, device
        assert isinstance(stage, Layer)
        if stage.channels % BLOCK:
            raise KernelError(f"it has {stage.channels} channels, and only multiples of {BLOCK} are worked on")
        shape = Shape(stage.max_degree, len(stage.after) - 1, stage.contraction.order)
        contraction.compiled(shape, precision.torch)
        compiled("maps")
        return FusedLayer(stage, shape, precision.torch)
