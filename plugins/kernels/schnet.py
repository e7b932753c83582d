"""Stages of SchNet: convolutions and activations in one pass each."""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from halocline.aggregation import Block, EdgeBlock, Form, prefix
from halocline.model.stage import Stage, State
from halocline.model.work import Work
from halocline.plugins.backbones.schnet.backbone import Interaction, Readout
from halocline.plugins.backbones.schnet.radial import ShiftedSoftplus
from halocline.plugins.fused import FEWEST_CHANNELS, softplus
from halocline.plugins.fused.operators import prepare
from halocline.plugins.fused.rows import Rows, rows_of
from halocline.plugins.fused.table_convolution import convolve_table, pull_table
from halocline.plugins.kernels.convolution import OPERATORS, TOLERANCES, FromTable, convolving
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel


@final
class FusedSchNet(Kernel):
    """As `Convolution`, and activations in one pass."""

    version = 1
    forms = frozenset({Form.EDGES})
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
        del form, precision
        prepare(device, "softplus")
        for path, module in list(stage.named_modules()):
            if isinstance(module, ShiftedSoftplus):
                stage.set_submodule(path, FusedSoftplus())
        stage = convolving(stage, device)
        if isinstance(stage, Interaction) and isinstance(stage.filters, FromTable):
            return TabulatedInteraction(stage)
        return stage


@final
class TabulatedInteraction(Stage):
    """An interaction with filters from a table, and with its derivative by name.

    Of what torch would call and keep besides, half is not there.

    Args:
        plain: whose weights it has.
    """

    profiled_as: ClassVar = {"forward": Work.UPDATE, "convolve": Work.MESSAGES}

    def __init__(self, plain: Interaction) -> None:
        super().__init__()
        self.spec, self.plain = plain.spec, plain

    def forward(self, state: State, *blocks: Block) -> State:
        """See `Interaction.forward`."""
        (block,) = blocks
        assert isinstance(block, EdgeBlock)
        if block.mask is not None:
            return self.plain(state, *blocks)
        x, there_and_back = state.atoms["features"], rows_of(block)
        features = _TabulatedInteraction.apply(  # type: ignore[no-untyped-call]
            x, block.vectors, self, block.n_out, *there_and_back
        )
        return State({"features": features}, {})

    def convolve(self, sent: Tensor, vectors: Tensor, there: Rows, back: Rows) -> Tensor:
        """Sums over the edges of receivers, (n, C), of what is sent (N, C)."""
        table = self.plain.filters
        assert isinstance(table, FromTable)
        return convolve_table(sent, vectors, table.wide, table.grid, there, back)


class _TabulatedInteraction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, vectors: Tensor, fused: TabulatedInteraction, count: int, there: Rows, back: Rows
    ) -> Tensor:
        stage = fused.plain
        sent = torch.mm(x, stage.sender.weight.t())
        summed = fused.convolve(sent, vectors, there, back)
        hidden = torch.addmm(stage.receiver.bias, summed, stage.receiver.weight.t())
        update = torch.addmm(stage.out.bias, softplus.shifted_softplus(hidden), stage.out.weight.t())
        ctx.stage, ctx.back, ctx.cut = stage, back, x.shape[0] - count
        ctx.save_for_backward(sent, hidden, vectors)
        return prefix(x, count) + update

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sent, hidden, vectors = ctx.saved_tensors
        (gradient,), stage, by_x = gradients, ctx.stage, ctx.needs_input_grad[0]
        by_hidden = softplus.pull_shifted_softplus(torch.mm(gradient, stage.out.weight), hidden)
        by_summed = torch.mm(by_hidden, stage.receiver.weight)
        table = stage.filters
        by_sent, by_vectors = pull_table(
            by_summed, sent, vectors, table.wide, table.grid, ctx.back, by_values=by_x
        )
        if not by_x:
            return None, by_vectors, None, None, None, None
        whole = isinstance(ctx.cut, int) and not ctx.cut
        own = gradient if whole else torch.cat([gradient, gradient.new_zeros((ctx.cut, gradient.shape[1]))])
        return torch.addmm(own, by_sent, stage.sender.weight), by_vectors, None, None, None, None


@final
class FusedSoftplus(nn.Module):
    """The same as `ShiftedSoftplus`, by an operator."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return softplus.shifted_softplus(x)
