"""The edge half of a block of M3GNet as one operator, and its derivative as another.

Every edge from a centre i to j takes the sums s of its three-body terms and goes through two gated networks of the
vectors of its atoms and its own (C. Chen and S. P. Ong, Nat. Comput. Sci. 2, 718, 2022, eq. 3 to 5):

    e₁ = e + (g₀ σ₀)(s),    e₂ = e₁ + (g₁ σ₁)(v_i, v_j, e₁) ⊙ w₁(r),    m = (g₂ σ₂)(v_i, v_j, e₂) ⊙ w₂(r)

and messages m are added up at one end of their edges. Compiled (gates.cpp), edges go through all of it in pieces
that stay in the cache, forward and backward; what the derivative needs is kept, and no message is. Weights are
constants. Sums are in the order of edges, so the number of threads changes no bit.

Shapes: E edges, N atoms read, n atoms written, C channels, U hidden units, K three-body sums, B functions of r.
C' and U' are C and U rounded up to whole panels of packed matrices: what is added that way stays zero.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor

from halocline.plugins.fused.operators import SUFFIX, address, c_function, define
from halocline.plugins.fused.packing import kept_columns, kept_rows
from halocline.plugins.fused.plain_gates import plain_edge_half, plain_edge_half_backward
from halocline.plugins.fused.reused import REUSED


def edge_half(
    edges: Tensor,
    sums: Tensor,
    basis: Tensor,
    shares: Tensor,
    ends: tuple[Tensor, Tensor],
    weights: Tensor,
    centres: int,
    sizes: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """See the module; differentiable once, by the first four.

    Args:
        edges: e, (E, C).
        sums: s, (E, K); zero where an edge has no three-body terms.
        basis: (E, B), functions of r that the factors are linear in.
        shares: (N, 8 U'), of atoms in the first layers of both networks, see `shares_of_atoms`.
        ends: senders and receivers, (E,) int64 each; receivers never decrease.
        weights: see `packed`.
        centres: n.
        sizes: U; the number of hidden layers; whether messages are summed at senders (1) or receivers (0); whether
            w₂ is a swish (1) of what is linear in the basis.

    Returns:
        e₂ (E, C), and the sums of messages, (N, C) at senders or (n, C) at receivers.
    """
    keep = any(each.requires_grad for each in (edges, sums, basis, shares))
    updated, totals, _ = torch.ops.halocline.edge_half(
        edges, sums, basis, shares, *ends, weights, centres, list(sizes), keep
    )
    return updated, totals


@final
class _Given(NamedTuple):
    """What both operators are given, as in `edge_half`."""

    edges: Tensor
    sums: Tensor
    basis: Tensor
    shares: Tensor
    senders: Tensor
    receivers: Tensor
    weights: Tensor
    centres: int
    sizes: list[int]

    @property
    def totals(self) -> tuple[int, int]:
        """The shape of the sums of messages."""
        return self.shares.shape[0] if self.sizes[2] else self.centres, self.edges.shape[1]

    def call(self, name: str, *tensors: Tensor | None) -> None:
        """Run compiled code on contiguous tensors."""
        (edges, channels), atoms, (units, *others) = self.edges.shape, self.shares.shape[0], self.sizes
        columns = self.sums.shape[1], self.basis.shape[1]
        numbers = (edges, self.centres, atoms, channels, units, *columns, *others)
        function = c_function("gates", f"edge_half_{name}_{SUFFIX[self.edges.dtype]}", "ppi")
        pointers = (ctypes.c_void_p * len(tensors))(*map(address, tensors))
        function((ctypes.c_int64 * len(numbers))(*numbers), pointers, torch.get_num_threads())


def _forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    given, keep = _Given(*arguments[:-1]), arguments[-1]
    updated, totals, kept = (REUSED.empty(shape, given.edges.dtype) for shape in _forward_shapes(given, keep))
    given.call("forward", *_contiguous(given[:7]), updated, totals, kept if keep else None)
    return updated, totals, kept


def _forward_fake(*arguments: Any) -> list[Tensor]:
    given, keep = _Given(*arguments[:-1]), arguments[-1]
    return [given.edges.new_empty(shape) for shape in _forward_shapes(given, keep)]


def _forward_shapes(given: _Given, keep: bool) -> tuple[tuple[int, ...], ...]:
    edges, channels = given.edges.shape
    rows = kept_rows(edges) if keep else 0
    return (edges, channels), given.totals, (rows, kept_columns(channels, given.sizes))


def _backward(by_updated: Tensor | None, by_totals: Tensor, kept: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    given = _Given(*arguments)
    products = tuple(REUSED.empty(each.shape, each.dtype) for each in given[:4])
    read = by_totals, kept, given.basis, given.senders, given.receivers, given.weights
    by_edges = None if by_updated is None else by_updated.contiguous()
    given.call("backward", by_edges, *_contiguous(read), *products)
    return products


def _backward_fake(
    by_updated: Tensor | None, by_totals: Tensor, kept: Tensor, *arguments: Any
) -> tuple[Tensor, ...]:
    del by_updated, by_totals, kept
    return tuple(each.new_empty(each.shape) for each in arguments[:4])


def _contiguous(tensors: Sequence[Any]) -> list[Tensor]:
    return [each.contiguous() for each in tensors]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)  # of what is kept, a gradient of zeros would be as large
    *tensors, ctx.centres, ctx.sizes, _ = inputs
    ctx.save_for_backward(output[2], *tensors)


def _derive(ctx: Any, by_updated: Tensor | None, by_totals: Tensor | None, by_kept: None) -> tuple[Any, ...]:
    del by_kept
    kept, *tensors = ctx.saved_tensors
    given = _Given._make([*tensors, ctx.centres, ctx.sizes])
    by_totals = given.edges.new_zeros(given.totals) if by_totals is None else by_totals
    return (*torch.ops.halocline.edge_half_backward(by_updated, by_totals, kept, *given), *(None,) * 6)


def _flops(edges: torch.Size, sums: torch.Size, basis: torch.Size, *others: Any) -> int:
    """Of products with matrices, as torch counts them; backward, there are as many."""
    units, hidden, *_ = next(each for each in others if isinstance(each, list))
    network = 4 * edges[1] * units + 2 * hidden * units * units
    return int(4 * edges[0] * (network + edges[1] * (sums[1] + basis[1])))


def _flops_backward(by_updated: Any, by_totals: Any, kept: Any, *given: Any) -> int:
    del by_updated, by_totals, kept
    return _flops(*given)


_SCHEMA: Final = (
    "Tensor edges, Tensor sums, Tensor basis, Tensor shares, Tensor senders, Tensor receivers, Tensor weights, "
    "SymInt centres, int[] sizes"
)

#: Both, as kernels name what they call.
EDGE_HALF: Final = (
    define(
        f"edge_half({_SCHEMA}, bool keep) -> (Tensor, Tensor, Tensor)",
        _forward,
        _forward_fake,
        plain_edge_half,
        derivative=_derive,
        saved=_save,
        triton="gates:updated_and_totals",
        flops=_flops,
    ),
    define(
        f"edge_half_backward(Tensor? by_updated, Tensor by_totals, Tensor kept, {_SCHEMA}) "
        "-> (Tensor, Tensor, Tensor, Tensor)",
        _backward,
        _backward_fake,
        plain_edge_half_backward,
        triton="gates:pulls",
        flops=_flops_backward,
    ),
)
