"""Stages of SchNet: convolutions and activations in one pass each, and with tables no autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from torch import Tensor, nn

from halocline.aggregation import Block, EdgeBlock, Form
from halocline.model.stage import Stage, State
from halocline.model.work import Work
from halocline.plugins.backbones.schnet.backbone import Interaction, Readout
from halocline.plugins.backbones.schnet.radial import ShiftedSoftplus
from halocline.plugins.fused import FEWEST_CHANNELS, softplus
from halocline.plugins.fused.interaction import (
    Convolved,
    interact,
    interact_back,
    packed_interaction,
    packed_readout,
    read_out,
    read_out_back,
)
from halocline.plugins.fused.operators import compiled, prepare
from halocline.plugins.fused.rows import CHANNELS, rows_of
from halocline.plugins.kernels.convolution import OPERATORS, TOLERANCES, FromTable, convolving
from halocline.program.analytic import AnalyticStage, Pull
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel


@final
class FusedSchNet(Kernel):
    """As `Convolution`, and activations in one pass."""

    version = 2
    forms = frozenset({Form.EDGES})
    tolerances = TOLERANCES
    operators = (*OPERATORS, *softplus.OPERATORS)

    def suits(self, stage: Stage) -> bool:
        """Whether it is an interaction or a readout of SchNet."""
        return isinstance(stage, Interaction | Readout)

    def pays(self, stage: Stage) -> bool:
        """Whether there is enough to compute for each atom."""
        assert isinstance(stage, Interaction | Readout)
        return _channels(stage) >= FEWEST_CHANNELS

    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """See `Kernel.replace`."""
        del form, precision
        prepare(device, "softplus")
        for path, module in list(stage.named_modules()):
            if isinstance(module, ShiftedSoftplus):
                stage.set_submodule(path, FusedSoftplus())
        stage = convolving(stage, device)
        return _analytic(stage) if device == "cpu" else stage


def _analytic(stage: Stage) -> Stage:
    """The stage, or one that knows its derivative: that of a readout, or of an interaction with a table."""
    assert isinstance(stage, Interaction | Readout)
    if _channels(stage) % CHANNELS:
        return stage
    if isinstance(stage, Readout):
        compiled("interaction")
        return CompiledReadout(stage)
    if isinstance(stage.filters, FromTable):
        compiled("interaction")
        return TabulatedInteraction(stage)
    return stage


def _channels(stage: Interaction | Readout) -> int:
    return (stage.receiver if isinstance(stage, Interaction) else stage.hidden).in_features


@final
class TabulatedInteraction(AnalyticStage):
    """An interaction with filters from a table, of whole vectors of channels.

    Args:
        plain: with operators in the place of convolutions and activations; these are what `forward` calls.
    """

    profiled_as: ClassVar = {"forward": Work.UPDATE}
    weights: Tensor

    def __init__(self, plain: Interaction) -> None:
        super().__init__()
        self.spec, self.plain = plain.spec, plain
        self.register_buffer(
            "weights", packed_interaction(plain.sender, plain.receiver, plain.out), persistent=False
        )

    def forward(self, state: State, *blocks: Block) -> State:
        """See `Interaction.forward`."""
        return self.plain(state, *blocks)

    def linearized(self, state: State, *blocks: Block) -> tuple[State, Pull] | None:
        """See `AnalyticStage.linearized`."""
        (block,) = blocks
        if not isinstance(block, EdgeBlock) or block.mask is not None:
            return None
        table = self.plain.filters
        assert isinstance(table, FromTable)
        vectors = block.vectors.contiguous()
        over = Convolved(self.weights, table.wide, table.grid, vectors, *rows_of(block))
        updated, kept = interact(state.atoms["features"].contiguous(), over)

        def pull(cotangents: Mapping[str, Tensor], by_vectors: Tensor, *, by_state: bool) -> dict[str, Tensor]:
            gradients = cotangents["features"].contiguous()
            by_x = interact_back(gradients, kept, over, by_vectors, by_x=by_state)
            return {} if by_x is None else {"features": by_x}

        return State({"features": updated}, {}), pull


@final
class CompiledReadout(AnalyticStage):
    """A readout of whole vectors of channels.

    Args:
        plain: with an operator in the place of its activation; this is what `forward` calls.
    """

    weights: Tensor

    def __init__(self, plain: Readout) -> None:
        super().__init__()
        self.spec, self.plain, self.units = plain.spec, plain, plain.hidden.out_features
        self.register_buffer("weights", packed_readout(plain.hidden, plain.out), persistent=False)

    def forward(self, state: State, *blocks: Block) -> State:
        """See `Readout.forward`."""
        return self.plain(state, *blocks)

    def linearized(self, state: State, *blocks: Block) -> tuple[State, Pull]:
        """See `AnalyticStage.linearized`."""
        del blocks
        weights, x = self.weights, state.atoms["features"].contiguous()
        energies, by_hidden = read_out(weights, x, self.units)

        def pull(cotangents: Mapping[str, Tensor], by_vectors: Tensor, *, by_state: bool) -> dict[str, Tensor]:
            del by_vectors
            if not by_state:
                return {}
            gradients = cotangents["energies"].contiguous()
            return {"features": read_out_back(weights, gradients, by_hidden, x.shape[1])}

        return State({"energies": energies}, {}), pull


@final
class FusedSoftplus(nn.Module):
    """The same as `ShiftedSoftplus`, by an operator."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return softplus.shifted_softplus(x)
