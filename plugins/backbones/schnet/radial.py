"""Filters, as functions of the distance, and what they are made of."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor, nn

from halocline.aggregation import RadialFunction
from halocline.plugins.backbones.schnet.config import SchNetConfig

#: Gaussians are cut off at exp(-36) = 2e-16, below the precision of float64. Without a floor their tails are
#: subnormal in float32, and matrix products with subnormal numbers run several times slower on CPUs.
LARGEST_EXPONENT = 36.0


@final
class ShiftedSoftplus(nn.Module):
    """log(1 + exp(x)) - log 2, as a module, so that something faster can take its place."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return _ShiftedSoftplus.apply(x)  # type: ignore[no-any-return, no-untyped-call]

    # nn.Module.__call__ is untyped; this keeps callers typed.
    def __call__(self, x: Tensor) -> Tensor:
        """Run hooks and `forward`."""
        result: Tensor = super().__call__(x)
        return result


class _ShiftedSoftplus(torch.autograd.Function):
    """The form that does not overflow, and its derivative by name.

    torch's own softplus is linear beyond 20, an error of 2e-9, and has no float64 kernel in ONNX Runtime. Left to
    differentiate the stable form by itself, torch would keep four arrays for each call where one is enough.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        # Not relu: where a lowered program is differentiated once more, this form gives 1/2 at zero, as it must.
        magnitude = x.abs()
        return torch.log1p(torch.exp(-magnitude)) + 0.5 * (x + magnitude) - math.log(2.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * torch.sigmoid(x)


class GaussianBasis(nn.Module):
    """exp(-(r - μ_g)² / 2Δ²) for centres μ_g evenly spaced by Δ.

    Args:
        cutoff: last centre, Å; the first is at 0.
        count: number G of centres.
    """

    centres: Tensor

    def __init__(self, cutoff: float, count: int) -> None:
        super().__init__()
        centres = torch.linspace(0.0, cutoff, count, dtype=torch.float64)
        self.register_buffer("centres", centres, persistent=False)
        self.spacing = cutoff / (count - 1)

    def forward(self, distances: Tensor) -> Tensor:
        """Expand distances [...] in Å to [..., G]."""
        scaled = (distances[..., None] - self.centres) * (1.0 / self.spacing)
        return torch.exp(-(0.5 * scaled * scaled).clamp(max=LARGEST_EXPONENT))


def cosine_envelope(distances: Tensor, cutoff: float, *, ends: bool) -> Tensor:
    """½ (cos(π r / r_c) + 1), [...].

    Args:
        distances: [...], Å.
        cutoff: r_c, Å.
        ends: zero beyond r_c; otherwise the cosine rises again there, as in the water-cluster work, whose nearest
            neighbours may lie farther away.
    """
    envelope = 0.5 * (torch.cos(distances * (math.pi / cutoff)) + 1.0)
    return envelope * (distances < cutoff).to(envelope.dtype) if ends else envelope


@final
class Filters(RadialFunction):
    """Continuous filters: a network on Gaussians of the distance, times the envelope; SchNet paper, eq. 3."""

    start = 0.0

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.cutoff, self.ends = config.cutoff, config.neighbours == "radius"
        self.end = config.cutoff if self.ends else math.inf
        self.channels = config.features
        self.basis = GaussianBasis(config.cutoff, config.gaussians)
        self.hidden = linear(config.gaussians, config.features)
        self.activation = ShiftedSoftplus()
        self.out = linear(config.features, config.features)

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """See `RadialFunction.forward`; there is one for all pairs."""
        del numbers
        hidden = self.activation(self.hidden(self.basis(distances)))
        filters: Tensor = self.out(hidden)
        return filters * cosine_envelope(distances, self.cutoff, ends=self.ends)[..., None]


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear map in float64 with Glorot weights and no offset, as SchNet is initialised."""
    layer = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
