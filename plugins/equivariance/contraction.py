"""The polynomials that symmetric couplings span, evaluated with their derivatives.

A symmetric form of power ν is, by Euler's theorem, a product of x with its own derivative by the components a of
any one of the irreps that its factors belong to, which is t times among them:

    B(x, ..., x) = 1/t Σ_a x_a ∂_a B,    ∂_a B = ν Σ_bc B_abc x_b x_c .

So derivatives are what is computed, each block of them by one product of a constant matrix with the monomials of
the other factors. Values and gradients follow by sums of products. Couplings are sparse; blocks by irreps leave
out most of what is zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from halocline.plugins.equivariance.irreps import Irreps, slices
from halocline.plugins.equivariance.symmetric import symmetric_couplings

#: An irrep of the results, and one of the features.
_Place = tuple[int, int]


@final
class _Block(NamedTuple):
    """The derivatives by one irrep of those forms whose factors are of the same irreps.

    Attributes:
        number: of the weights that they share, in the order of those of powers above 1.
        out: place of the irrep of the results.
        kinds: which of the couplings, and so of the weights.
        factors: places of the irreps of all factors, rising.
        by: place of the irrep that is differentiated by.
    """

    number: int
    out: int
    kinds: slice
    factors: tuple[int, ...]
    by: int

    @property
    def rest(self) -> tuple[int, ...]:
        """Places of the irreps of the other factors."""
        place = self.factors.index(self.by)
        return self.factors[:place] + self.factors[place + 1 :]

    @property
    def times(self) -> int:
        """How many of the factors are of the irrep that is differentiated by, t."""
        return self.factors.count(self.by)

    @property
    def gives_values(self) -> bool:
        """Whether the forms themselves are taken from this block; any of those of the same forms would do."""
        return self.by == self.factors[0]

    @property
    def matrix(self) -> str:
        """Name of the constants, (kinds · results · components, monomials)."""
        return f"matrix_{self.number}_{'_'.join(map(str, self.factors))}_by_{self.by}"


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

    def __init__(self, irreps: Irreps, out: Irreps, order: int, species: int, channels: int) -> None:
        super().__init__()
        self.order = order
        self.sizes = [irrep.dimension for irrep in irreps]
        self.results = [irrep.dimension for irrep in out]
        self.linear = [slices(irreps)[irreps.index(irrep)] for irrep in out]
        self.weights = nn.ParameterDict()
        self.blocks: list[_Block] = []
        for number, irrep in enumerate(out):
            bases = [symmetric_couplings(irreps, irrep, power) for power in range(1, order + 1)]
            spread = 1.0 / math.sqrt(sum(map(len, bases)))
            for power, basis in enumerate(bases, start=1):
                shape = (species, len(basis), channels)
                self.weights[f"{number}_{power}"] = nn.Parameter(torch.randn(shape, dtype=torch.float64) * spread)
                if power > 1:
                    self._divide(irreps, number, number * (order - 1) + power - 2, basis)

    def _divide(self, irreps: Irreps, out: int, number: int, basis: NDArray[np.float64]) -> None:
        """Enter the blocks of the couplings of one power to one irrep, (K, 2l + 1, M, ..., M)."""
        places, power, first = slices(irreps), basis.ndim - 2, 0
        for factors in combinations_with_replacement(range(len(irreps)), power):
            own = basis[first:, :, *(places[factor] for factor in factors)]
            kinds = slice(first, first + int(np.abs(own).any(axis=tuple(range(1, own.ndim))).sum()))
            first = kinds.stop
            for by in dict.fromkeys(factors) if kinds.start < kinds.stop else ():
                block = _Block(number, out, kinds, factors, by)
                part = basis[kinds, :, *(places[factor] for factor in (by, *block.rest))]
                orders = math.factorial(power) / math.prod(map(math.factorial, Counter(block.rest).values()))
                matrix = orders * part.reshape(math.prod(part.shape[:3]), -1)
                self.register_buffer(block.matrix, torch.from_numpy(matrix), persistent=False)
                self.blocks.append(block)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Features (n, M, C) and species (n,) → (n, m, C)."""
        columns = _columns(x)
        weights = {name: _columns(weight.index_select(0, rows)) for name, weight in self.weights.items()}
        linear = [columns[place] * weights.pop(f"{out}_1") for out, place in enumerate(self.linear)]
        values = linear[0] if len(linear) == 1 else torch.cat(linear)
        if self.blocks:
            values = values + _polynomials(columns, self, *weights.values())
        return torch.stack(torch.unflatten(values, 1, (-1, x.shape[2])).unbind(0), 1)

    def evaluate(self, x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, dict[_Place, Tensor]]:
        """The share of powers above 1 in all columns of x, with its derivatives.

        Args:
            x: (M, J).
            weights: for each irrep of the results and each power, (K, J).

        Returns:
            Values (m, J), and their derivatives (2l + 1, 2l' + 1, J) by the places of both irreps.
        """
        parts = torch.split(x, self.sizes)
        values: dict[int, Tensor] = {}
        slopes: dict[_Place, Tensor] = {}
        for block, forms in self._forms(parts):
            slope = _weighted(forms, weights[block.number][block.kinds])
            _add(slopes, (block.out, block.by), slope)
            if block.gives_values:
                _add(values, block.out, (slope * parts[block.by]).sum(1) / block.times)
        for out, size in enumerate(self.results):
            if out not in values:  # no product of these irreps has such components
                values[out] = x.new_zeros((size, x.shape[1]))
        return torch.cat([values[out] for out in range(len(self.results))]), slopes

    def by_weights(self, x: Tensor, gradient: Tensor) -> list[Tensor]:
        """What a gradient of the values (m, J) is by the weights, each (K, J)."""
        parts, arriving = torch.split(x, self.sizes), torch.split(gradient, self.results)
        found: dict[int, list[Tensor]] = {}
        for block, forms in self._forms(parts):
            if block.gives_values:
                products = arriving[block.out].unsqueeze(1) * parts[block.by] / block.times
                found.setdefault(block.number, []).append((forms * products).sum((1, 2)))
        nothing = x.new_zeros((0, x.shape[1]))
        return [torch.cat(found.get(number, [nothing])) for number in range(len(self.results) * (self.order - 1))]

    def _forms(self, parts: Sequence[Tensor]) -> Iterator[tuple[_Block, Tensor]]:
        """Each block with the derivatives of its forms, (K, 2l + 1, 2l' + 1, J)."""
        monomials: dict[tuple[int, ...], Tensor] = {}
        for block in self.blocks:
            if block.rest not in monomials:
                first, *others = (parts[place] for place in block.rest)
                for other in others:
                    first = (first.unsqueeze(1) * other).flatten(0, 1)
                monomials[block.rest] = first
            matrix: Tensor = getattr(self, block.matrix)
            shape = (-1, self.results[block.out], self.sizes[block.by])
            yield block, torch.unflatten(matrix @ monomials[block.rest], 0, shape)


def _columns(values: Tensor) -> Tensor:
    """One row for each component and one column for each atom and channel: (n, M, C) → (M, n · C).

    By rows, not by a transposed view, whose copy in order is lost on compilers that know no strides.
    """
    return torch.stack(values.unbind(1)).flatten(1)


def _weighted(forms: Tensor, weights: Tensor) -> Tensor:
    """Forms (K, ..., J) times weights (K, J), added up."""
    total = forms[0] * weights[0]
    for kind in range(1, forms.shape[0]):
        total = torch.addcmul(total, forms[kind], weights[kind])
    return total


def _add(sums: dict[Any, Tensor], key: Any, value: Tensor) -> None:
    sums[key] = sums[key] + value if key in sums else value


def _polynomials(x: Tensor, contraction: SymmetricContraction, *weights: Tensor) -> Tensor:
    return _Polynomials.apply(x, contraction, *weights)  # type: ignore[no-any-return, no-untyped-call]


class _Polynomials(torch.autograd.Function):
    """Values of `SymmetricContraction.evaluate`, whose derivatives are kept in place of what led to them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, contraction: SymmetricContraction, *weights: Tensor) -> Tensor:
        values, slopes = contraction.evaluate(x, weights)
        ctx.contraction, ctx.places = contraction, list(slopes)
        ctx.save_for_backward(x, *weights, *slopes.values())
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *rest = ctx.saved_tensors
        weights = rest[: -len(ctx.places)]
        slopes = dict(zip(ctx.places, rest[-len(ctx.places) :], strict=True))
        if torch.is_grad_enabled():  # to be differentiated again, which what was kept cannot be
            slopes = ctx.contraction.evaluate(x, weights)[1]
        arriving = torch.split(gradients[0], ctx.contraction.results)
        sums: dict[int, Tensor] = {}
        for (out, by), slope in slopes.items():
            _add(sums, by, (arriving[out].unsqueeze(1) * slope).sum(0))
        parts = torch.split(x, ctx.contraction.sizes)
        pulls = [sums[by] if by in sums else torch.zeros_like(part) for by, part in enumerate(parts)]
        by_weights = ctx.contraction.by_weights(x, gradients[0]) if any(ctx.needs_input_grad[2:]) else []
        return torch.cat(pulls), None, *(by_weights or [None] * len(weights))
