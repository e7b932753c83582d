"""Symmetric contractions as polynomials: one for each component of the result, in the components of the features.

A symmetric coupling has most of its numbers several times, once for each order of the factors, and zero elsewhere.
What is left is a sum over monomials x_a x_b x_c with a ≤ b ≤ c, whose coefficients depend on the species and the
channel alone: they are the weights contracted with the couplings, once, in float64.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from functools import cache
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.plugins.equivariance import (
    Irrep,
    SymmetricContraction,
    dimension,
    natural_irreps,
    symmetric_couplings,
)

#: Components of the factors, rising.
Monomial = tuple[int, ...]

#: Channels whose coefficients lie side by side: one cache line in float32, a whole number of any vectors.
BLOCK = 16

#: Of the largest number in a coupling; what is smaller is rounding.
_NOTHING = 1e-12


@final
class Shape(NamedTuple):
    """Which polynomials there are.

    Attributes:
        degree: features have natural irreps of degrees 0 to this one, M components.
        out_degree: results likewise, R components.
        order: the highest power.
    """

    degree: int
    out_degree: int
    order: int

    @property
    def features(self) -> int:
        """M."""
        return dimension(natural_irreps(self.degree))

    @property
    def results(self) -> int:
        """R."""
        return dimension(natural_irreps(self.out_degree))


@cache
def monomials(shape: Shape) -> tuple[tuple[Monomial, ...], ...]:
    """Those of each component of the results, sorted: every monomial comes before those that it begins."""
    powers = range(1, shape.order + 1)
    return tuple(
        tuple(sorted(itertools.chain(*(_amplitudes(shape, irrep, m, power) for power in powers))))
        for irrep in natural_irreps(shape.out_degree)
        for m in range(irrep.dimension)
    )


@final
class Term(NamedTuple):
    """A product that the results, or their gradient, are sums of.

    Attributes:
        place: of its coefficient.
        result: component of the results.
        feature: that the gradient is by; of a value, the first factor.
        factors: components of the features; of a gradient without the one that it is by.
    """

    place: int
    result: int
    feature: int
    factors: Monomial


def value_terms(shape: Shape) -> list[Term]:
    """Those of the values, results one after the other."""
    every = [(result, factors) for result, each in enumerate(monomials(shape)) for factors in each]
    return [Term(place, result, factors[0], factors) for place, (result, factors) in enumerate(every)]


def gradient_terms(shape: Shape) -> list[Term]:
    """Those of the gradient by features."""
    return [
        Term(place, result, factor, factors[:at] + factors[at + 1 :])
        for place, result, _, factors in value_terms(shape)
        for at, factor in enumerate(factors)
    ]


def coefficients(contraction: SymmetricContraction, shape: Shape) -> Tensor:
    """Numbers that monomials are multiplied with, (C / 16, S, monomials of all results, 16), float64.

    Args:
        contraction: with natural irreps, as the shape says, and a multiple of 16 channels.
        shape: of the contraction.
    """
    rows: list[Tensor] = []
    found = iter(monomials(shape))
    for number, irrep in enumerate(natural_irreps(shape.out_degree)):
        for m in range(irrep.dimension):
            for factors in next(found):
                one = torch.from_numpy(_amplitudes(shape, irrep, m, len(factors))[factors])
                weights = contraction.weights[f"{number}_{len(factors)}"].detach().double()
                rows.append(torch.einsum("skc,k->sc", weights, one))
    every = torch.stack(rows, 1)
    species, count, channels = every.shape
    return every.view(species, count, channels // BLOCK, BLOCK).permute(2, 0, 1, 3).contiguous()


def evaluated(x: Tensor, numbers: Tensor, rows: Tensor, shape: Shape) -> Tensor:
    """The polynomials in plain operations, (R, n, C).

    Args:
        x: (M, n, C).
        numbers: see `coefficients`.
        rows: (n,) int64, the species of each atom.
        shape: of the polynomials.
    """
    _, results, _, every = zip(*value_terms(shape), strict=True)
    return _added(_products(x, every) * _of_atoms(numbers, rows), results, shape.results)


def pulled(gradient: Tensor, x: Tensor, numbers: Tensor, rows: Tensor, shape: Shape) -> Tensor:
    """What a gradient of the results (R, n, C) is by the features (M, n, C), in plain operations."""
    places, results, factors, rest = zip(*gradient_terms(shape), strict=True)
    own = _of_atoms(numbers, rows).index_select(0, _index(places, rows))
    arriving = gradient.index_select(0, _index(results, rows))
    return _added(_products(x, rest) * own * arriving, factors, shape.features)


@cache
def _amplitudes(shape: Shape, irrep: Irrep, m: int, power: int) -> dict[Monomial, NDArray[np.float64]]:
    """What each monomial of one power has of every coupling to one component, (K,)."""
    basis = symmetric_couplings(natural_irreps(shape.degree), irrep, power)[:, m]
    largest, columns = np.abs(basis).max(0, initial=0.0), basis.reshape(len(basis), -1)
    found = {}
    for place in np.argwhere(largest > _NOTHING * largest.max(initial=0.0)):
        factors = tuple(int(factor) for factor in place)
        if factors == tuple(sorted(factors)):
            orders = math.factorial(power) / math.prod(map(math.factorial, Counter(factors).values()))
            found[factors] = orders * columns[:, np.ravel_multi_index(factors, largest.shape)]
    return found


def _products(x: Tensor, every: tuple[Monomial, ...]) -> Tensor:
    """Monomials (K, n, C) of x (M, n, C)."""
    padded = torch.cat([x, torch.ones_like(x[:1])])
    highest = max(1, *map(len, every))
    total = None
    for place in range(highest):
        index = [factors[place] if place < len(factors) else x.shape[0] for factors in every]
        factor = padded.index_select(0, _index(index, x))
        total = factor if total is None else total * factor
    assert total is not None
    return total


def _of_atoms(numbers: Tensor, rows: Tensor) -> Tensor:
    """Coefficients (C / 16, S, K, 16) → those of atoms, (K, n, C)."""
    return numbers.permute(2, 1, 0, 3).flatten(2).index_select(1, rows)


def _added(terms: Tensor, owner: tuple[int, ...], count: int) -> Tensor:
    """Terms (K, n, C) added up at their owners: (count, n, C)."""
    belongs = torch.zeros((count, len(owner)), dtype=terms.dtype, device=terms.device)
    belongs[_index(owner, terms), torch.arange(len(owner), device=terms.device)] = 1.0
    return torch.unflatten(belongs @ terms.flatten(1), 1, terms.shape[1:])


def _index(numbers: tuple[int, ...] | list[int], like: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64, device=like.device)
