"""Screened repulsion of nuclei, as upstream has it: that of the next element's nuclei."""

from __future__ import annotations

from typing import Final, NamedTuple, final

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.plugins.backbones.orb.config import ROWS

#: e²/(4πε₀) in eV·Å, and the Bohr radius in Å, as upstream rounds them.
_COULOMB, _BOHR = 14.3996, 0.529

#: Shares of the exponentials of the screening function, and their decays, per screening length.
_SHARES: Final = (0.1818, 0.5099, 0.2802, 0.02817)
_DECAYS: Final = (3.2, 0.9423, 0.4028, 0.2016)


class Repelled(NamedTuple):
    """What a pair adds.

    Attributes:
        energies: [...], eV, of each edge, half of a pair that has both.
        slopes: [...], eV/Å, their derivatives by the length.
    """

    energies: Tensor
    slopes: Tensor


@final
class Repulsion(nn.Module):
    """½ Z_i Z_j e²/(4πε₀ r) φ(r/a) for each edge, Z of the **next** element, ended at the sum of covalent radii.

    φ is the universal screening function of J. F. Ziegler, J. P. Biersack and U. Littmark (1985), with
    a = 0.4543 a_0 / (Z_i^0.3 + Z_j^0.3). That atoms repel as if they were of the next element was never meant, but
    is what published weights were fitted to. Constants have the single precision in which upstream keeps them.

    Attributes:
        charges, radii, sizes: (119,), Z, covalent radius in Å and Z^0.3, by atomic number.
        shares, decays: (4,), of the exponentials of φ.
    """

    charges: Tensor
    radii: Tensor
    sizes: Tensor
    shares: Tensor
    decays: Tensor

    def __init__(self) -> None:
        super().__init__()
        charges = torch.arange(1, ROWS + 1, dtype=torch.float64)
        radii = _rounded([*covalent_radii[1:ROWS], covalent_radii[ROWS - 1]])  # the last one is refused
        for name, values in {
            "charges": charges,
            "radii": radii,
            "sizes": charges ** _rounded(0.3),
            "shares": _rounded(_SHARES),
            "decays": _rounded(_DECAYS),
            "prefactor": _rounded(0.4543) * _BOHR,
        }.items():
            self.register_buffer(name, values, persistent=False)

    prefactor: Tensor

    def forward(self, block: Block, species: Tensor, lengths: Tensor) -> Repelled:
        """What the edges of a block add.

        Args:
            block: N atoms are read.
            species: (N,), atomic numbers.
            lengths: [...], Å.
        """
        charge, radius, size = (t.index_select(0, species) for t in (self.charges, self.radii, self.sizes))
        inverse = (block.at_senders(size) + block.at_receivers(size)) / self.prefactor  # of a
        terms = self.shares * torch.exp(-self.decays * (lengths * inverse)[..., None])
        phi, slope = terms.sum(-1), -(self.decays * terms).sum(-1) * inverse
        factor = (0.5 * _COULOMB) * block.at_senders(charge) * block.at_receivers(charge) / lengths
        reach = block.at_senders(radius) + block.at_receivers(radius)
        x = lengths / reach
        inside = (lengths < reach).to(x.dtype)
        end = (1.0 - x**6 * (28.0 - x * (48.0 - 21.0 * x))) * inside
        fall = -(x**5) * (168.0 - x * (336.0 - 168.0 * x)) / reach * inside
        return Repelled(factor * phi * end, factor * ((slope - phi / lengths) * end + phi * fall))


def _rounded(values: float | tuple[float, ...] | list[float]) -> Tensor:
    """Numbers as single precision has them, in double precision."""
    return torch.tensor(values, dtype=torch.float32).double()
