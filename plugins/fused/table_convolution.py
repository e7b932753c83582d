"""Convolve with a table of cubic polynomials of the edges' lengths, as `TabulatedFunction` has it."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from halocline.plugins.fused.operators import SUFFIX, address, c_function, define
from halocline.plugins.fused.rows import Rows, cropped, padded

#: Arguments of both operators that say what is convolved with.
_TABLE: Final = "Tensor table, Tensor grid"


def convolve_table(
    values: Tensor, vectors: Tensor, table: Tensor, grid: Tensor, there: Rows, back: Rows
) -> Tensor:
    """Σ w(r) v over the edges of each receiver.

    Args:
        values: v, (n_in, C), of senders.
        vectors: (E, 3), Å, whose lengths r are.
        table: (4 (K + 2), C'), with C' channels of which the first C count, a multiple of 16; see
            `TabulatedFunction`.
        grid: (2,), Å and 1/Å: where its first interval begins, and how many there are in an Å. No compiler keeps
            such numbers but in tensors.
        there: edges by receiver, in order.
        back: by sender.

    Returns:
        (n_out, C).
    """
    found: Tensor = torch.ops.halocline.convolve_table(values, vectors, table, grid, *there[:2], *back)
    return found


def pull_table(
    gradients: Tensor, values: Tensor, vectors: Tensor, table: Tensor, grid: Tensor, back: Rows, *, by_values: bool
) -> tuple[Tensor, Tensor]:
    """What `convolve_table` owes to values and vectors.

    Args:
        gradients: (n_out, C), by its result.
        values: as there, and all the others.
        vectors: (E, 3), Å.
        table: as there.
        grid: as there.
        back: edges by sender.
        by_values: whether gradients by values are wanted.

    Returns:
        Gradients by values (n_in, C), or (0, C) where they are not wanted; and by vectors (E, 3).
    """
    found: tuple[Tensor, Tensor] = torch.ops.halocline.pull_table(
        gradients, values, vectors, table, grid, *back, by_values
    )
    return found


def _compute(
    values: Tensor,
    vectors: Tensor,
    table: Tensor,
    grid: Tensor,
    others: Tensor,
    starts: Tensor,
    *back: Tensor | None,
) -> Tensor:
    del back
    rows, edges, channels = starts.shape[0], others.shape[0], table.shape[1]
    wide, vectors, others, starts = padded(values), vectors.contiguous(), others.contiguous(), starts.contiguous()
    out = values.new_empty((rows, channels))
    c_function("convolution", f"convolve_table_{SUFFIX[values.dtype]}", "pppiiiipppppi")(
        *_described(table, vectors, grid),
        *(rows, edges, address(starts), None, address(others)),
        *(address(wide), address(out), torch.get_num_threads()),
    )
    return cropped(out, values.shape[1])


def _pulls(
    gradients: Tensor,
    values: Tensor,
    vectors: Tensor,
    table: Tensor,
    grid: Tensor,
    others: Tensor,
    starts: Tensor,
    order: Tensor | None,
    by_values: bool,
) -> tuple[Tensor, Tensor]:
    rows, edges, channels = starts.shape[0], others.shape[0], values.shape[1]
    arriving, own, vectors = padded(gradients), padded(values), vectors.contiguous()
    others, starts, order = others.contiguous(), starts.contiguous(), None if order is None else order.contiguous()
    pulls = torch.empty_like(own) if by_values else None
    by_vectors = torch.zeros_like(vectors)
    c_function("convolution", f"pull_table_{SUFFIX[values.dtype]}", "pppiiiipppppppi")(
        *_described(table, vectors, grid),
        *(rows, edges, address(starts), address(order), address(others)),
        *(address(arriving), address(own), address(pulls), address(by_vectors), torch.get_num_threads()),
    )
    return values.new_empty((0, channels)) if pulls is None else cropped(pulls, channels), by_vectors


def _described(table: Tensor, vectors: Tensor, grid: Tensor) -> tuple[Any, ...]:
    rows, channels = table.shape
    return address(table), address(vectors), address(grid), rows // 4 - 2, channels


def _fake_pulls(gradients: Tensor, values: Tensor, vectors: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    del gradients
    by_values = rest[-1]
    return values.new_empty((values.shape[0] if by_values else 0, values.shape[1])), vectors.new_empty(
        vectors.shape
    )


def _composite(
    values: Tensor,
    vectors: Tensor,
    table: Tensor,
    grid: Tensor,
    others: Tensor,
    starts: Tensor,
    *back: Tensor | None,
) -> Tensor:
    del back
    _, rows, others = Rows(others, starts, None).spelled_out()
    weights, _ = _looked_up(_lengths(vectors), table[:, : values.shape[1]], grid)
    total = values.new_zeros((starts.shape[0], values.shape[1]))
    return total.index_add(0, rows, weights * values.index_select(0, others))


def _composite_pulls(
    gradients: Tensor,
    values: Tensor,
    vectors: Tensor,
    table: Tensor,
    grid: Tensor,
    others: Tensor,
    starts: Tensor,
    order: Tensor | None,
    by_values: bool,
) -> tuple[Tensor, Tensor]:
    edges, rows, others = Rows(others, starts, order).spelled_out()
    own = vectors if edges is None else vectors.index_select(0, edges)
    lengths = _lengths(own)
    weights, slopes = _looked_up(lengths, table[:, : values.shape[1]], grid)
    arriving = gradients.index_select(0, others)
    by_lengths = (slopes * arriving * values.index_select(0, rows)).sum(1) * grid[1]
    by_vectors = own * (by_lengths / lengths).unsqueeze(1)
    if edges is not None:
        by_vectors = torch.zeros_like(by_vectors).index_add(0, edges, by_vectors)
    if not by_values:
        return values.new_empty((0, values.shape[1])), by_vectors
    return torch.zeros_like(values).index_add(0, rows, weights * arriving), by_vectors


def _lengths(vectors: Tensor) -> Tensor:
    return (vectors * vectors).sum(1).sqrt()


def _looked_up(lengths: Tensor, table: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Values and derivatives by the place in an interval, (E, C) each."""
    intervals = table.shape[0] // 4 - 2
    places = (lengths - grid[0]) * grid[1]
    # NaN is beyond the end, and stays NaN in the offset.
    rows = torch.where(places < intervals, places.clamp(min=0.0), float(intervals)).to(torch.int64)
    t = (places - rows.to(places.dtype)).unsqueeze(1)
    c0, c1, c2, c3 = (table.index_select(0, 4 * rows + power) for power in range(4))
    second = c3 * t + c2
    first = second * t + c1
    return first * t + c0, (c3 * t + second) * t + first


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    values, vectors, table, grid, _, _, others, starts, order = inputs
    ctx.save_for_backward(values, vectors, table, grid, others, starts, order)


def _derivative(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
    values, vectors, table, grid, *back = ctx.saved_tensors
    wanted = ctx.needs_input_grad[0]
    by_values, by_vectors = pull_table(gradients, values, vectors, table, grid, Rows(*back), by_values=wanted)
    return by_values if wanted else None, by_vectors, *(None,) * 7


_PULL_TABLE: Final = define(
    f"pull_table(Tensor gradients, Tensor values, Tensor vectors, {_TABLE}, Tensor others, Tensor starts, "
    "Tensor? order, bool by_values) -> (Tensor, Tensor)",
    _pulls,
    _fake_pulls,
    _composite_pulls,
    triton="table_convolution:pull_table",
)

_CONVOLVE_TABLE: Final = define(
    f"convolve_table(Tensor values, Tensor vectors, {_TABLE}, Tensor senders, Tensor starts, Tensor others_back, "
    "Tensor starts_back, Tensor? order_back) -> Tensor",
    _compute,
    lambda values, vectors, table, grid, senders, starts, *back: values.new_empty(
        (starts.shape[0], values.shape[1])
    ),
    _composite,
    derivative=_derivative,
    saved=_save,
    triton="table_convolution:convolve_table",
)

OPERATORS: Final = (_CONVOLVE_TABLE, _PULL_TABLE)
