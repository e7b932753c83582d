"""The sums of M3GNet's three-body terms as one operator, and its derivative as another.

For every edge from a centre i to j, with radial functions R that fall off to zero and are weighted by gates g,

    s_ij,ln = f(r_ij) Σ_{k≠j} R_ln(r_ik) g_k,ln Y_l0(cos θ_jik) ,

by way of the moments of the centre (`backbones.m3gnet.three_body`). Edges on which f is zero take no part: R is a
multiple of f, which ends with no slope, so derivatives by what is given of them count for nothing, and are zero.

Shapes: E edges, N atoms read, n centres, K = L·R sums of L degrees, l-major.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor

from halocline.aggregation.rows import add_up, take
from halocline.plugins.backbones.m3gnet.three_body import moment_maps, spherical_harmonics
from halocline.plugins.fused.operators import SUFFIX, address, c_function, define


def three_body_sums(
    vectors: Tensor,
    weights: Tensor,
    envelope: Tensor,
    gates: Tensor,
    ends: tuple[Tensor, Tensor],
    centres: int,
    degrees: int,
    *,
    from_end: bool,
) -> Tensor:
    """See the module; differentiable once, by the first four.

    Args:
        vectors: (E, 3), Å.
        weights: R, (E, K).
        envelope: f, (E, 1).
        gates: g, (N, K).
        ends: senders and receivers, (E,) int64 each; receivers never decrease.
        centres: n.
        degrees: L, at most 4.
        from_end: whether the gates are those of the atom k, not of the centre.

    Returns:
        (E, K).
    """
    result: Tensor = torch.ops.halocline.three_body_sums(
        vectors, weights, envelope, gates, *ends, centres, degrees, from_end
    )
    return result


@final
class _Given(NamedTuple):
    """What both operators are given."""

    vectors: Tensor
    weights: Tensor
    envelope: Tensor
    gates: Tensor
    senders: Tensor
    receivers: Tensor
    centres: int
    degrees: int
    from_end: bool

    def call(self, name: str, *tensors: Tensor) -> None:
        """Run compiled code; the tensors are contiguous."""
        edges, sums = self.weights.shape
        numbers = edges, self.centres, self.degrees, sums // self.degrees, self.from_end, len(self.gates)
        given = [each.contiguous() for each in self[:6]]
        pointers = (ctypes.c_void_p * (6 + len(tensors)))(*map(address, (*given, *tensors)))
        function = c_function("three_body", f"three_body_{name}_{SUFFIX[self.weights.dtype]}", "ppi")
        function((ctypes.c_int64 * len(numbers))(*numbers), pointers, torch.get_num_threads())


def _forward(*arguments: Any) -> Tensor:
    given, sums = _Given(*arguments), _shape(*arguments)
    given.call("forward", sums)
    return sums


def _shape(*arguments: Any) -> Tensor:
    weights = arguments[1]
    result: Tensor = weights.new_empty(weights.shape)
    return result


def _plain(
    vectors: Tensor,
    weights: Tensor,
    envelope: Tensor,
    gates: Tensor,
    senders: Tensor,
    receivers: Tensor,
    centres: int,
    degrees: int,
    from_end: bool,
) -> Tensor:
    of_weight, of_harmonic, to_sum = (
        each.to(weights) for each in moment_maps(degrees, weights.shape[1] // degrees)
    )
    harmonics = spherical_harmonics(vectors / vectors.norm(dim=1, keepdim=True), degrees) @ of_harmonic
    terms = ((weights * take(gates, senders if from_end else receivers)) @ of_weight) * harmonics
    moments = take(add_up(terms, receivers, centres), receivers)
    return (((moments - terms) * harmonics) @ to_sum) * envelope


def _backward(pull: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    given, products = _Given(*arguments), _backward_shapes(pull, *arguments)
    given.call("backward", pull.contiguous(), *products, torch.empty_like(products[1]))
    return products


def _backward_shapes(pull: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    del pull
    return tuple(each.new_empty(each.shape) for each in arguments[:4])


def _backward_plain(pull: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    products: tuple[Tensor, ...] = torch.func.vjp(lambda *by: _plain(*by, *arguments[4:]), *arguments[:4])[1](pull)
    return products


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    *tensors, ctx.centres, ctx.degrees, ctx.from_end = inputs
    ctx.save_for_backward(*tensors)


def _derive(ctx: Any, pull: Tensor) -> tuple[Any, ...]:
    given = *ctx.saved_tensors, ctx.centres, ctx.degrees, ctx.from_end
    return (*torch.ops.halocline.three_body_sums_backward(pull, *given), *(None,) * 5)


def _flops(vectors: torch.Size, weights: torch.Size, *others: Any) -> int:
    """Of moments and of sums over them, as if all edges took part; each of L² R moments comes in twice."""
    del vectors
    return 4 * weights[0] * weights[1] * int(others[-2])


def _flops_backward(pull: torch.Size, *given: Any) -> int:
    """Each moment of an edge comes in six times."""
    del pull
    return 3 * _flops(*given)


_SCHEMA: Final = (
    "Tensor vectors, Tensor weights, Tensor envelope, Tensor gates, Tensor senders, Tensor receivers, "
    "SymInt centres, int degrees, bool from_end"
)

#: Both, as kernels name what they call.
THREE_BODY: Final = (
    define(
        f"three_body_sums({_SCHEMA}) -> Tensor",
        _forward,
        _shape,
        _plain,
        derivative=_derive,
        saved=_save,
        triton="three_body:sums",
        flops=_flops,
    ),
    define(
        f"three_body_sums_backward(Tensor pull, {_SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor)",
        _backward,
        _backward_shapes,
        _backward_plain,
        triton="three_body:pulls",
        flops=_flops_backward,
    ),
)
