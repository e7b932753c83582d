"""Custom operators in a stage: registered with torch, with a definition for those that do not run them."""

from __future__ import annotations

import torch
from torch import Tensor

from halocline.graph import Radius
from halocline.model import Stage, StageSpec, State
from halocline.program.operators import CustomOperator, register_operator
from kinds.common import KindModel, envelope, linear


@torch.library.custom_op("halocline_tests::bump", mutates_args=())
def bump(x: Tensor) -> Tensor:
    """x exp(-x²)"""
    return x * torch.exp(-x * x)


@torch.library.custom_op("halocline_tests::bump_slope", mutates_args=())
def bump_slope(x: Tensor, pull: Tensor) -> Tensor:
    """Its derivative, times a cotangent."""
    return pull * (1.0 - 2.0 * x * x) * torch.exp(-x * x)


bump.register_fake(torch.empty_like)
bump_slope.register_fake(lambda x, pull: torch.empty_like(x))
bump.register_autograd(
    lambda context, pull: bump_slope(context.saved_tensors[0], pull),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)
bump_slope.register_autograd(
    lambda context, pull: (
        pull * context.saved_tensors[1] * _curvature(context.saved_tensors[0]),
        bump_slope(context.saved_tensors[0], pull),
    ),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


def _curvature(x: Tensor) -> Tensor:
    return (4.0 * x * x * x - 6.0 * x) * torch.exp(-x * x)


BUMP = register_operator(CustomOperator("halocline_tests::bump", 3, lambda x: x * torch.exp(-(x * x))))
BUMP_SLOPE = register_operator(
    CustomOperator(
        "halocline_tests::bump_slope", 3, lambda x, pull: pull * (1.0 - 2.0 * (x * x)) * torch.exp(-(x * x))
    )
)


class OperatorLayer(Stage):
    def __init__(self, config):
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=Radius(config.cutoff))
        self.cutoff, channels = config.cutoff, config.channels
        self.filters, self.update = linear(2, channels), linear(channels, channels)

    def forward(self, state, *blocks):
        (block,) = blocks
        x = state.atoms["x"]
        summed = block.convolve(x, self.weights)
        return State({"x": block.targets(x) + bump(self.update(summed))}, {})

    def weights(self, lengths):
        basis = torch.stack([lengths, lengths * lengths], -1) / self.cutoff
        return self.filters(basis) * envelope(lengths, self.cutoff)[..., None]


class OperatorModel(KindModel):
    name, layer = "operator", OperatorLayer
