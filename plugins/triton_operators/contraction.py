"""Symmetric contractions; see `halocline.plugins.fused.contraction`, whose operators have these arguments.

Programs loop over a table of terms. As straight lines, which processors run, the 410 monomials of 0e + 1o and
their gradient take Triton minutes to compile; what loops read besides comes from the first cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from halocline.plugins.fused.polynomials import BLOCK, Shape, Term, gradient_terms, value_terms
from halocline.plugins.triton_operators.blocks import Blocks
from halocline.plugins.triton_operators.launch import launch

#: Atoms and channels of a program, and warps: atoms of one species share what is read of coefficients.
_BLOCKS: Final = ((8, 64, 4), (16, 64, 4), (4, 128, 4), (8, 128, 4))

_BLOCK = tl.constexpr(BLOCK)


def values(x: Tensor, numbers: Tensor, rows: Tensor, *shape: int) -> Tensor:
    """Polynomials of features, (R, n, C)."""
    found = x.new_empty((Shape(*shape).results, *x.shape[1:]))
    _launch(found, None, x, numbers, rows, *_terms_of_values(Shape(*shape), x.device))
    return found


def pulls(gradient: Tensor, x: Tensor, numbers: Tensor, rows: Tensor, *shape: int) -> Tensor:
    """The gradient by features, (M, n, C)."""
    found = torch.empty_like(x, memory_format=torch.contiguous_format)
    _launch(found, gradient.contiguous(), x, numbers, rows, *_terms_of_gradients(Shape(*shape), x.device))
    return found


def _launch(
    out: Tensor, gradient: Tensor | None, x: Tensor, numbers: Tensor, rows: Tensor, terms: Tensor, starts: Tensor
) -> None:
    components, atoms, channels = out.shape
    _, species, count, _ = numbers.shape
    launch(
        _add_up,
        [
            *(out, gradient, x.contiguous(), numbers.contiguous()),
            *(rows.contiguous() if species > 1 else None, terms, starts),
            *(x.shape[0], atoms, channels, species, count, terms.shape[1] - 2),
        ],
        out,
        _blocks(channels),
        lambda blocks: (
            triton.cdiv(atoms, blocks["ATOMS"]),
            triton.cdiv(channels, blocks["CHANNELS"]),
            components,
        ),
        about=(channels, terms.shape[0], species > 1),
        work=terms.shape[0] * atoms * channels,
    )


@triton.jit(do_not_specialize=["features", "atoms", "species", "count"])
def _add_up(
    out_at, gradient_at, x_at, numbers_at, rows_at, terms_at, starts_at,
    features, atoms, channels, species, count, POWER: tl.constexpr, ATOMS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    atom = tl.program_id(0).to(tl.int64) * ATOMS + tl.arange(0, ATOMS)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    component = tl.program_id(2)
    inside = channel < channels
    used = (atom < atoms) & inside
    at = atom * channels + channel
    # Where all atoms are of one species, its coefficients are read once for all of them.
    row = channel // _BLOCK * species
    if rows_at is not None:
        row += tl.load(rows_at + atom, mask=atom < atoms, other=0)
    coefficients_at = numbers_at + row.to(tl.int64) * count * _BLOCK + channel % _BLOCK
    total = tl.zeros((ATOMS, CHANNELS), dtype=out_at.dtype.element_ty)
    for number in range(tl.load(starts_at + component), tl.load(starts_at + component + 1)):
        term_at = terms_at + number * (POWER + 2)
        product = tl.load(coefficients_at + tl.load(term_at) * _BLOCK, mask=inside, other=0.0)
        if gradient_at is not None:
            result = tl.load(term_at + 1).to(tl.int64)
            product *= tl.load(gradient_at + result * atoms * channels + at, mask=used, other=0.0)
        for place in tl.static_range(POWER):
            factor = tl.load(term_at + 2 + place).to(tl.int64)
            there = used & (factor < features)
            product *= tl.load(x_at + factor * atoms * channels + at, mask=there, other=1.0)
        total += product
    tl.store(out_at + component.to(tl.int64) * atoms * channels + at, total, mask=used)


@cache
def _terms_of_values(shape: Shape, device: torch.device) -> tuple[Tensor, Tensor]:
    terms = value_terms(shape)
    return _table(terms, [each.result for each in terms], shape.results, shape, shape.order, device)


@cache
def _terms_of_gradients(shape: Shape, device: torch.device) -> tuple[Tensor, Tensor]:
    terms = sorted(gradient_terms(shape), key=lambda each: each.feature)
    return _table(terms, [each.feature for each in terms], shape.features, shape, shape.order - 1, device)


def _table(
    terms: Sequence[Term], owners: Sequence[int], count: int, shape: Shape, power: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """A row for each term, owners one after the other, and where those of each owner begin.

    Of each term there are the place of its coefficient, the result, and the factors; M is for none.
    """
    rows = [
        [each.place, each.result, *each.factors, *[shape.features] * (power - len(each.factors))] for each in terms
    ]
    starts = list(accumulate((owners.count(owner) for owner in range(count)), initial=0))
    found = torch.tensor(rows, dtype=torch.int32).reshape(len(rows), 2 + power)
    return found.to(device), torch.tensor(starts, dtype=torch.int32, device=device)


@cache
def _blocks(channels: int) -> tuple[Blocks, ...]:
    found = [(atoms, min(block, triton.next_power_of_2(channels)), warps) for atoms, block, warps in _BLOCKS]
    return tuple({"ATOMS": atoms, "CHANNELS": width, "num_warps": warps} for atoms, width, warps in found)
