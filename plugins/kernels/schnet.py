"""Stages of SchNet: convolutions and activations in one pass each."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from halocline.aggregation import Form
from halocline.model.stage import Stage
from halocline.plugins.backbones.schnet.backbone import Interaction, Readout
from halocline.plugins.backbones.schnet.radial import ShiftedSoftplus
from halocline.plugins.fused import FEWEST_CHANNELS, softplus
from halocline.plugins.fused.operators import compiled
from halocline.plugins.kernels.convolution import OPERATORS, TOLERANCES, convolving
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel


@final
class FusedSchNet(Kernel):
    """As `Convolution`, and activations in one pass."""

    version = 1
    forms = frozenset({Form.EDGES})
    devices = ("cpu",)
    tolerances = TOLERANCES
    operators = (*OPERATORS, *softplus.OPERATORS)

    def suits(self, stage: Stage) -> bool:
        """Whether it is an interaction or a readout of SchNet."""
        return isinstance(stage, Interaction | Readout)

    def pays(self, stage: Stage) -> bool:
        """Whether there is enough to compute for each atom."""
        assert isinstance(stage, Interaction | Readout)
        wide = stage.receiver if isinstance(stage, Interaction) else stage.hidden
        return wide.in_features >= FEWEST_CHANNELS

    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """See `Kernel.replace`."""
        del form, precision, device
        compiled("softplus")
        for path, module in list(stage.named_modules()):
            if isinstance(module, ShiftedSoftplus):
                stage.set_submodule(path, FusedSoftplus())
        return convolving(stage)


@final
class FusedSoftplus(nn.Module):
    """The same as `ShiftedSoftplus`, by an operator."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return softplus.shifted_softplus(x)
