"""Algebra of O(3): irreducible representations, harmonics, couplings and the products made of them.

One layout throughout: features of atoms or edges are ``(..., m, C)``, components before channels. Channels are
innermost in memory, where every operation treats them alike; all irreps of one tensor have equally many. The
components m are those of its irreps one after the other, 2l + 1 for each degree l. Tensors whose irreps have
different numbers of channels are those of `Space`.
"""

from halocline.plugins.equivariance.contraction import SymmetricContraction
from halocline.plugins.equivariance.couplings import coupling
from halocline.plugins.equivariance.harmonics import spherical_harmonics
from halocline.plugins.equivariance.irreps import Irrep, dimension, natural_irreps, parse_irreps, slices
from halocline.plugins.equivariance.linear import IrrepLinear, SpeciesLinear
from halocline.plugins.equivariance.product import ChannelwiseProduct, Path, paths
from halocline.plugins.equivariance.symmetric import symmetric_couplings
from halocline.plugins.equivariance.uneven import Space, UnevenLinear, UnevenProduct

__all__ = [
    "ChannelwiseProduct",
    "Irrep",
    "IrrepLinear",
    "Path",
    "Space",
    "SpeciesLinear",
    "SymmetricContraction",
    "UnevenLinear",
    "UnevenProduct",
    "coupling",
    "dimension",
    "natural_irreps",
    "parse_irreps",
    "paths",
    "slices",
    "spherical_harmonics",
    "symmetric_couplings",
]
