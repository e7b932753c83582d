"""Products of features with themselves: a basis of all symmetric couplings, and its contraction.

I. Batatia et al., NeurIPS 2022, eq. 10-11, and G. Dusson et al., J. Comput. Phys. 454, 110946 (2022). The products
x_a x_b x_c do not care for the order of their factors. So of all couplings only the symmetric ones count, of which
there are several times fewer than ways to couple; an orthonormal basis of them is both the least to compute and
independent of the signs and the order in which anybody couples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations_with_replacement, permutations
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from halocline.plugins.equivariance.couplings import coupling
from halocline.plugins.equivariance.irreps import Irrep, dimension, slices

#: A symmetric coupling whose part outside those before it is smaller than this is a combination of them. What is
#: left of combinations is rounding, 1e-15; what is left of others is of order one.
_DEPENDENT = 1e-6

#: The highest power of the features that is implemented.
HIGHEST_ORDER = 3


@cache
def symmetric_couplings(irreps: tuple[Irrep, ...], out: Irrep, order: int) -> NDArray[np.float64]:
    """An orthogonal basis of the equivariant symmetric maps of x ⊗ ... ⊗ x to one irrep.

    Each has the squared norm (2l + 1)/order!, so that results of normally distributed features are of order one.

    Args:
        irreps: of x, M components; all different.
        out: of the results.
        order: how many factors.

    Returns:
        (K, 2l + 1, M, ..., M), read-only, in an order that follows from the degrees alone.
    """
    shape = (out.dimension, *(dimension(irreps),) * order)
    basis: list[NDArray[np.float64]] = []
    for factors in combinations_with_replacement(range(len(irreps)), order):
        own: list[NDArray[np.float64]] = []  # couplings of other factors have no component in common
        for result, tensor in _couplings(irreps, factors):
            if result == out:
                own += _new_direction(_symmetrised(tensor, irreps, factors, shape), own)
        basis += own
    found = np.stack(basis) if basis else np.zeros((0, *shape))
    found *= math.sqrt(out.dimension / math.factorial(order))
    found.flags.writeable = False
    return found


def _couplings(irreps: Sequence[Irrep], factors: Sequence[int]) -> Iterator[tuple[Irrep, NDArray[np.float64]]]:
    """Every way to couple these factors one after the other: its result, and (2l + 1, components of each)."""
    if len(factors) == 1:
        irrep = irreps[factors[0]]
        yield irrep, np.eye(irrep.dimension)
        return
    last = irreps[factors[-1]]
    for before, tensor in _couplings(irreps, factors[:-1]):
        for result in before.product(last):
            one = coupling(before.degree, last.degree, result.degree)
            yield result, np.moveaxis(np.tensordot(tensor, one, (0, 0)), -1, 0)


def _symmetrised(
    tensor: NDArray[np.float64], irreps: Sequence[Irrep], factors: Sequence[int], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """The mean over all orders of the factors, within the tensor of all components."""
    places = [slices(irreps)[factor] for factor in factors]
    total = np.zeros(shape)
    for order in permutations(range(len(factors))):
        axes = (0, *(1 + place for place in order))
        total[(slice(None), *(places[place] for place in order))] += tensor.transpose(axes)
    return total / math.factorial(len(factors))


def _new_direction(tensor: NDArray[np.float64], basis: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """What is new in a tensor, at norm one; nothing if it is a combination of orthonormal others."""
    for _ in range(2):  # once more, so that it is orthogonal to rounding
        for other in basis:
            tensor = tensor - np.vdot(other, tensor) * other
    norm = float(np.linalg.norm(tensor))
    return [tensor / norm] if norm > _DEPENDENT else []


@final
class SymmetricContraction(nn.Module):
    """Σ_k w_k B_k(x, ..., x) for all orders, with weights w_k for each species and channel.

    Args:
        irreps: of the features x, M components.
        out: of the results, each of which is among ``irreps``.
        order: the highest power.
        species: how many there are, S.
        channels: C.
    """

    def __init__(
        self, irreps: tuple[Irrep, ...], out: tuple[Irrep, ...], order: int, species: int, channels: int
    ) -> None:
        super().__init__()
        self.out, self.order = out, order
        self.places = [slices(irreps)[irreps.index(irrep)] for irrep in out]
        self.weights = nn.ParameterDict()
        for number, irrep in enumerate(out):
            counts = [len(symmetric_couplings(irreps, irrep, power)) for power in range(1, order + 1)]
            for power, count in enumerate(counts, start=1):
                self.weights[f"{number}_{power}"] = nn.Parameter(
                    torch.randn(species, count, channels, dtype=torch.float64) / math.sqrt(sum(counts))
                )
                if power > 1:
                    matrix = _by_pairs(symmetric_couplings(irreps, irrep, power))
                    self.register_buffer(f"basis_{number}_{power}", torch.from_numpy(matrix), persistent=False)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Features (n, M, C) and species (n,) → (n, m, C)."""
        pairs = (x.unsqueeze(2) * x.unsqueeze(1)).flatten(1, 2) if self.order > 1 else x
        results = []
        for number in range(len(self.out)):
            powers = [self._power(number, power, x, pairs, rows) for power in range(1, self.order + 1)]
            results.append(torch.stack(powers).sum(0) if len(powers) > 1 else powers[0])
        return results[0] if len(results) == 1 else torch.cat(results, dim=1)

    def _power(self, number: int, power: int, x: Tensor, pairs: Tensor, rows: Tensor) -> Tensor:
        """The share of one power in one irrep, (n, 2l + 1, C)."""
        weights: Tensor = self.weights[f"{number}_{power}"].index_select(0, rows)  # (n, K, C)
        if power == 1:
            return x[:, self.places[number]] * weights
        values: Tensor = getattr(self, f"basis_{number}_{power}") @ pairs
        if power == HIGHEST_ORDER:
            values = (torch.unflatten(values, 1, (x.shape[1], -1)) * x.unsqueeze(2)).sum(1)
        return (torch.unflatten(values, 1, (-1, self.out[number].dimension)) * weights.unsqueeze(2)).sum(1)


def _by_pairs(basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Couplings (K, a, M, M) or (K, a, M, M, M) as a matrix on the M² products of pairs.

    Rows are (K, a), or (M, K, a) with the third factor first.
    """
    if basis.ndim == 2 + HIGHEST_ORDER:
        basis = basis.transpose(2, 0, 1, 3, 4)
    return np.array(basis.reshape(math.prod(basis.shape[:-2]), -1))
