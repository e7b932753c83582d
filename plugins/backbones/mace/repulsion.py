"""Screened repulsion of nuclei."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.plugins.backbones.mace.radial import polynomial_envelope

#: e²/(4πε₀) in eV·Å, and the Bohr radius in Å, as MACE rounds them.
_COULOMB, _BOHR = 14.3996, 0.529

#: Of the four exponentials, per screening length.
_DECAYS = (3.2, 0.9423, 0.4028, 0.2016)


@final
class Repulsion(nn.Module):
    """Z_i Z_j e²/(4πε₀ r) φ(r/a) with the universal screening of Ziegler, Biersack and Littmark (1985).

    It ends smoothly at the sum of the covalent radii. Half of each pair belongs to each of its atoms.

    Attributes:
        shares: (4,), of the exponentials of φ.
        exponent, prefactor: (), of the screening length a = prefactor · a_0 / (Z_i^exponent + Z_j^exponent).

    Args:
        order: of the envelope.
    """

    shares: Tensor
    exponent: Tensor
    prefactor: Tensor

    def __init__(self, order: int) -> None:
        super().__init__()
        self.order = order
        self.register_buffer("shares", torch.tensor([0.1818, 0.5099, 0.2802, 0.02817], dtype=torch.float64))
        self.register_buffer("exponent", torch.tensor(0.3, dtype=torch.float64))
        self.register_buffer("prefactor", torch.tensor(0.4543, dtype=torch.float64))

    def forward(self, block: Block, charges: Tensor, radii: Tensor) -> Tensor:
        """Energies (n,) in eV, from nuclear charges (N,) and covalent radii (N,) in Å."""
        distances = block.lengths()
        size = torch.exp(self.exponent * torch.log(charges))
        screening = (self.prefactor * _BOHR) / (block.at_senders(size) + block.at_receivers(size))
        x = distances / screening
        phi = torch.stack([self.shares[i] * torch.exp(-decay * x) for i, decay in enumerate(_DECAYS)]).sum(0)
        product = block.at_senders(charges) * block.at_receivers(charges)
        reach = block.at_senders(radii) + block.at_receivers(radii)
        energies = (0.5 * _COULOMB) * product / distances * phi
        return block.sum(energies * polynomial_envelope(distances, reach, self.order))
