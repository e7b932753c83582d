"""What follows the sums of messages: a norm over all irreps, and gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from halocline.plugins.backbones.nequip.config import SCALAR
from halocline.plugins.equivariance import Space

#: Added to the square that features are divided by, so that zeros stay finite.
_SMALLEST = 1e-12


@final
class Gate(nn.Module):
    """Scalars through an activation, and each channel of the other irreps times the activation of a scalar.

    Scalars 0e pass SiLU and scalars 0o tanh, which is odd; what multiplies channels is SiLU of scalars 0e. Before
    the gate, the scalars 0e are followed by those that will multiply, in the order of the irreps; S. Batzner et
    al., Nat. Commun. 13, 2453 (2022), Methods.

    Args:
        after: what it leaves.
    """

    def __init__(self, after: Space) -> None:
        super().__init__()
        self.irreps = after.irreps
        gated = [count for count, irrep in after.terms if irrep.degree]
        self.sizes = [after.of(SCALAR), *gated]

    @property
    def gates(self) -> int:
        """Scalars that multiply."""
        return sum(self.sizes[1:])

    def forward(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """[n, 2l + 1, C] of each irrep, more of the scalars 0e, → of each irrep."""
        scalars, *gates = torch.split(silu(parts[self.irreps.index(SCALAR)]), self.sizes, -1)
        remaining = iter(gates)
        gated = []
        for irrep, part in zip(self.irreps, parts, strict=True):
            if irrep == SCALAR:
                gated.append(scalars)
            elif irrep.degree:
                gated.append(part * next(remaining))
            else:
                gated.append(torch.tanh(part))
        return gated


@final
class Norm(nn.Module):
    """Features over √(1/K Σ_l Σ_mc x_lmc² / (2l + 1)²), with K irreps of C_l channels each, times learned weights.

    This is what Nequix (T. Koker et al., arXiv:2508.16067) computes. It is no mean over channels, and irreps with
    many channels count for more.

    Args:
        channels: of each irrep.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.ones(count, dtype=torch.float64) for count in channels)

    def forward(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """[n, 2l + 1, C] of each irrep → the same shapes."""
        squares = torch.stack([(part * part).flatten(1).sum(1) * part.shape[1] ** -2 for part in parts]).mean(0)
        factor = torch.rsqrt(squares + _SMALLEST)[:, None, None]
        return [part * factor * weight for part, weight in zip(parts, self.weights, strict=True)]
