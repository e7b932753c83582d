"""Products of features with themselves: a basis of all symmetric couplings.

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

import numpy as np
from numpy.typing import NDArray

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
