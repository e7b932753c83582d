"""Functions of the distance: Bessel functions, envelope, Agnesi transform, and the network on top of them.

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
from halocline.aggregation.rows import take
from halocline.graph.graph import COINCIDENT
from halocline.plugins.backbones.mace.config import MACEConfig


@final
class RadialBasis(nn.Module):
    """√(2/r_c) sin(n π r'/r_c)/r' · envelope(r), where r' is r or its Agnesi transform; eq. 7 of the paper.

    The transform measures distances by half the sum of two covalent radii, while the envelope does not: together
    they depend on the two species, and on no single transformed distance.

    Attributes:
        waves: (B,), 1/Å.
        amplitude: (), √(2/r_c).
        radii: (S,), Å, covalent.
        pairs: (S, S) int64, with a transform the numbers of all unordered pairs of species; else None.

    Args:
        config: of the model.
        radii: of the embedding, which keeps them with the weights.
    """

    waves: Tensor
    amplitude: Tensor
    radii: Tensor
    pairs: Tensor | None
    ends: Tensor

    def __init__(self, config: MACEConfig, radii: Tensor) -> None:
        super().__init__()
        self.cutoff, self.order = config.cutoff, config.envelope_order
        waves = torch.arange(1, config.bessels + 1, dtype=torch.float64) * (math.pi / config.cutoff)
        self.register_buffer("waves", waves)
        self.register_buffer("amplitude", torch.tensor(math.sqrt(2.0 / config.cutoff), dtype=torch.float64))
        self.transform = AgnesiTransform() if config.agnesi else None
        self.register_buffer("radii", radii, persistent=False)
        species = len(config.species)
        ends = torch.triu_indices(species, species)
        pairs = torch.zeros((species, species), dtype=torch.int64)
        pairs[ends[0], ends[1]] = pairs[ends[1], ends[0]] = torch.arange(ends.shape[1])
        self.register_buffer("pairs", pairs if config.agnesi else None, persistent=False)
        self.register_buffer("ends", ends, persistent=False)

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Distances [...] in Å, with a transform also the numbers [...] of the pairs of species: [..., B]."""
        envelope = polynomial_envelope(distances, self.cutoff, self.order)
        if self.transform is not None:
            assert numbers is not None
            bonds = 0.5 * (take(self.radii, self.ends[0]) + take(self.radii, self.ends[1]))
            distances = self.transform(distances / take(bonds, numbers.flatten()).view(numbers.shape))
        arguments = distances[..., None] * self.waves
        return torch.sin(arguments) * (self.amplitude * envelope / distances)[..., None]


@final
class AgnesiTransform(nn.Module):
    """1 / (1 + a x^q / (1 + x^(q-p))), which resolves distances near the bond length, x = 1, best.

    W. C. Witt et al., J. Chem. Phys. 159, 164101 (2023).

    Attributes:
        a, q, p: ().
    """

    a: Tensor
    q: Tensor
    p: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in (("a", 1.0805), ("q", 0.9183), ("p", 4.5791)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """[...] → [...]."""
        logarithm = torch.log(x)
        rising, falling = torch.exp(self.q * logarithm), torch.exp((self.q - self.p) * logarithm)
        return 1.0 / (1.0 + self.a * rising / (1.0 + falling))


@final
class RadialNetwork(RadialFunction):
    """A perceptron on a radial basis, without offsets, so that weights of messages reach zero with the basis.

    Args:
        basis: of the layer, which owns it: several networks of a layer have the same.
        hidden: units.
        outputs: C.
    """

    start = COINCIDENT  # sin(x)/x is not asked for at 0

    def __init__(self, basis: RadialBasis, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.end, self.channels, self.pairs = basis.cutoff, outputs, basis.pairs
        self._basis = (basis,)  # in a tuple, so that it is no module of this one, with weights of another name
        self.layers = nn.ModuleList(
            nn.Linear(a, b, bias=False, dtype=torch.float64)
            for a, b in pairwise([len(basis.waves), *hidden, outputs])
        )

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """See `RadialFunction.forward`."""
        result: Tensor = self.layers[-1](self.hidden(distances, numbers))
        return result

    @property
    def mixing(self) -> Tensor:
        """Of the last layer, (C, units)."""
        (*_, last) = self.layers
        assert isinstance(last, nn.Linear)
        return last.weight.detach()

    def hidden(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        """What the last layer maps, [..., units]; arguments as for `forward`."""
        (basis,) = self._basis
        values: Tensor = basis(distances, numbers)
        for layer in self.layers[:-1]:
            values = silu(layer(values))
        return values


def polynomial_envelope(distances: Tensor, cutoff: float | Tensor, order: int) -> Tensor:
    """1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2) for x = r/r_c < 1 and 0 beyond, [...].

    J. Gasteiger, J. Groß and S. Günnemann, ICLR 2020, eq. 8. It ends with two derivatives.
    """
    x, p = distances / cutoff, order
    inner = 0.5 * (p + 1) * (p + 2) - x * (p * (p + 2.0) - x * (0.5 * p * (p + 1)))
    return (1.0 - x**p * inner) * (distances < cutoff).to(distances.dtype)
