"""Functions of the distance: Bessel functions under an envelope, and the network on top of them.

Constants are kept with the weights, as published weights were fitted to constants of their precision.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from halocline.aggregation import RadialFunction
from halocline.graph.graph import COINCIDENT
from halocline.plugins.backbones.mace.radial import polynomial_envelope
from halocline.plugins.backbones.nequip.config import NequIPConfig


@final
class RadialNetwork(RadialFunction):
    """A perceptron on (2/r_c) sin(b_n r)/r · envelope(r), without offsets, so that messages end with the envelope.

    Attributes:
        waves: (B,), 1/Å, the b_n; n π/r_c before any fit.

    Args:
        config: of the model.
        outputs: C.
    """

    start = COINCIDENT  # sin(x)/x is not asked for at 0
    waves: Tensor

    def __init__(self, config: NequIPConfig, outputs: int) -> None:
        super().__init__()
        self.end, self.channels = config.cutoff, outputs
        self.xplor, self.order, self.begin = config.envelope == "xplor", config.envelope_order, config.xplor_from
        waves = torch.arange(1, config.bessels + 1, dtype=torch.float64) * (math.pi / config.cutoff)
        self.register_buffer("waves", waves)
        self.layers = nn.ModuleList(
            nn.Linear(a, b, bias=False, dtype=torch.float64)
            for a, b in pairwise([config.bessels, *config.radial_units, outputs])
        )

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """See `RadialFunction.forward`."""
        result: Tensor = self.layers[-1](self.hidden(distances, numbers))
        return result

    def hidden(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """What the last layer of the network reads, [..., C]."""
        del numbers
        if self.xplor:
            envelope = xplor_envelope(distances, self.begin, self.end)
        else:
            envelope = polynomial_envelope(distances, self.end, self.order)
        arguments = distances[..., None] * self.waves
        values = torch.sin(arguments) * ((2.0 / self.end) * envelope / distances)[..., None]
        for layer in self.layers[:-1]:
            values = silu(layer(values))
        return values


def xplor_envelope(distances: Tensor, begin: float, end: float) -> Tensor:
    """1 up to r_b, 0 from r_c on, (r_c² - r²)² (r_c² + 2r² - 3r_b²) / (r_c² - r_b²)³ between them, [...].

    A. T. Brünger, X-PLOR (1992). Its first derivative is continuous, its second jumps at both ends.
    """
    squares, first, last = distances * distances, begin * begin, end * end
    between = (last - squares) ** 2 * (last + 2.0 * squares - 3.0 * first) * (1.0 / (last - first) ** 3)
    inside = (distances < end).to(distances.dtype)
    return torch.where(distances < begin, torch.ones_like(distances), between) * inside
