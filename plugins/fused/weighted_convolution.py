"""Convolve with weights that are given: for each edge, or for each pair of opposite edges."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from halocline.aggregation import EdgeBlock
from halocline.plugins.fused.operators import SUFFIX, address, c_function, define
from halocline.plugins.fused.rows import Rows, cropped, padded


class Pairs(NamedTuple):
    """Which edges have weights in common.

    Attributes:
        pair_of: (E,) int64, the pair of each edge.
        first: (P,) int64, the first edge of each pair.
        opposite: (E,) int64, the edge that leads back; E or more where there is none.
    """

    pair_of: Tensor
    first: Tensor
    opposite: Tensor


def pairs_of(block: EdgeBlock) -> Pairs | None:
    """The pairs of a block, where they are known."""
    if block.pair_of is None or block.pairs is None or block.opposite is None:
        return None
    return Pairs(block.pair_of, block.pairs, block.opposite)


def convolve_weighted(
    values: Tensor, weights: Tensor, pairs: Pairs | None, receivers: Tensor, there: Rows, back: Rows
) -> Tensor:
    """Σ w v over the edges of each receiver.

    Args:
        values: v, (n_in, C), of senders.
        weights: w, (E, C), or (P, C) of pairs.
        pairs: of which there are weights; None where each edge has its own.
        receivers: (E,) int64.
        there: edges by receiver, in order.
        back: by sender.

    Returns:
        (n_out, C).
    """
    found: Tensor = torch.ops.halocline.convolve_weighted(
        values, weights, receivers, *there[:2], *back, *(pairs or (None, None, None))
    )
    return found


def _sum(
    values: Tensor, weights: Tensor, others: Tensor, starts: Tensor, order: Tensor | None, row_of: Tensor | None
) -> Tensor:
    wide, weights = padded(values), padded(weights)
    others, starts, (order, row_of) = others.contiguous(), starts.contiguous(), _contiguous(order, row_of)
    rows, channels = starts.shape[0], weights.shape[1]
    out = values.new_empty((rows, channels))
    c_function("convolution", f"convolve_rows_{SUFFIX[values.dtype]}", "ppiiipppppi")(
        *(address(weights), address(row_of), channels, rows, others.shape[0]),
        *(address(starts), address(order), address(others)),
        *(address(wide), address(out), torch.get_num_threads()),
    )
    return cropped(out, values.shape[1])


def _pull(
    gradients: Tensor,
    values: Tensor,
    senders: Tensor,
    receivers: Tensor,
    first: Tensor | None,
    opposite: Tensor | None,
) -> Tensor:
    arriving, sent, (first, opposite) = padded(gradients), padded(values), _contiguous(first, opposite)
    senders, receivers = senders.contiguous(), receivers.contiguous()
    rows, channels = (senders if first is None else first).shape[0], sent.shape[1]
    out = values.new_empty((rows, channels))
    c_function("convolution", f"pull_rows_{SUFFIX[values.dtype]}", "iiipppppppi")(
        *(rows, senders.shape[0], channels, address(first), address(opposite), address(senders)),
        *(address(receivers), address(arriving), address(sent), address(out), torch.get_num_threads()),
    )
    return cropped(out, values.shape[1])


def _contiguous(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    return tuple(None if tensor is None else tensor.contiguous() for tensor in tensors)


def _composite_sum(
    values: Tensor, weights: Tensor, others: Tensor, starts: Tensor, order: Tensor | None, row_of: Tensor | None
) -> Tensor:
    edges, rows, others = Rows(others, starts, order).spelled_out()
    which = row_of if edges is None or row_of is None else row_of.index_select(0, edges)
    which = edges if row_of is None else which
    messages = values.index_select(0, others) * (weights if which is None else weights.index_select(0, which))
    return values.new_zeros((starts.shape[0], values.shape[1])).index_add(0, rows, messages)


def _composite_pull(
    gradients: Tensor,
    values: Tensor,
    senders: Tensor,
    receivers: Tensor,
    first: Tensor | None,
    opposite: Tensor | None,
) -> Tensor:
    products = gradients.index_select(0, receivers) * values.index_select(0, senders)
    if first is None or opposite is None:
        return products
    back = opposite.index_select(0, first)
    products = torch.cat([products, torch.zeros_like(products[:1])])  # for edges without an opposite
    back = torch.where(back == first, senders.shape[0], back.clamp(max=senders.shape[0]))
    return products.index_select(0, first) + products.index_select(0, back)


def _forward(
    values: Tensor, weights: Tensor, receivers: Tensor, others: Tensor, starts: Tensor, *rest: Tensor | None
) -> Tensor:
    del receivers
    return _sum(values, weights, others, starts, None, rest[3])


def _composite(
    values: Tensor, weights: Tensor, receivers: Tensor, others: Tensor, starts: Tensor, *rest: Tensor | None
) -> Tensor:
    del receivers
    return _composite_sum(values, weights, others, starts, None, rest[3])


def _fake(values: Tensor, weights: Tensor, receivers: Tensor, others: Tensor, starts: Tensor, *_: Any) -> Tensor:
    del weights, receivers, others
    return values.new_empty((starts.shape[0], values.shape[1]))


def _fake_sum(values: Tensor, weights: Tensor, others: Tensor, starts: Tensor, *_: Any) -> Tensor:
    del weights, others
    return values.new_empty((starts.shape[0], values.shape[1]))


def _fake_pull(
    gradients: Tensor, values: Tensor, senders: Tensor, receivers: Tensor, first: Tensor | None, *_: Any
) -> Tensor:
    del gradients, receivers
    return values.new_empty(((senders if first is None else first).shape[0], values.shape[1]))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _derivative(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
    values, weights, receivers, senders, _, *back, pair_of, first, opposite = ctx.saved_tensors
    operators, needed = torch.ops.halocline, ctx.needs_input_grad
    by_values = operators.sum_weighted(gradients, weights, *back, pair_of) if needed[0] else None
    by_weights = (
        operators.pull_weights(gradients, values, senders, receivers, first, opposite) if needed[1] else None
    )
    return by_values, by_weights, *(None,) * 9


_SUM_WEIGHTED: Final = define(
    "sum_weighted(Tensor values, Tensor weights, Tensor others, Tensor starts, Tensor? order, Tensor? row_of) "
    "-> Tensor",
    _sum,
    _fake_sum,
    _composite_sum,
    triton="weighted_convolution:sum_weighted",
)

_PULL_WEIGHTS: Final = define(
    "pull_weights(Tensor gradients, Tensor values, Tensor senders, Tensor receivers, Tensor? first, "
    "Tensor? opposite) -> Tensor",
    _pull,
    _fake_pull,
    _composite_pull,
    triton="weighted_convolution:pull_weights",
)

_CONVOLVE_WEIGHTED: Final = define(
    "convolve_weighted(Tensor values, Tensor weights, Tensor receivers, Tensor others, Tensor starts, "
    "Tensor others_back, Tensor starts_back, Tensor? order_back, Tensor? pair_of, Tensor? first, "
    "Tensor? opposite) -> Tensor",
    _forward,
    _fake,
    _composite,
    derivative=_derivative,
    saved=_save,
    triton="weighted_convolution:convolve_weighted",
)

OPERATORS: Final = (_CONVOLVE_WEIGHTED, _SUM_WEIGHTED, _PULL_WEIGHTS)
