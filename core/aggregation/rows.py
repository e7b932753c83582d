"""Read and add up rows, whatever trailing axes they have.

Kernels for matrices are several times faster than those for more axes, so that further ones are flattened.
"""

from __future__ import annotations

from torch import Tensor


def take(values: Tensor, index: Tensor) -> Tensor:
    """Rows (I, *) of values (R, *), by number (I,)."""
    if values.ndim <= 2:
        return values.index_select(0, index)
    return values.flatten(1).index_select(0, index).view(index.shape[0], *values.shape[1:])


def add_up(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """Sums (rows, *) of values (I, *), by the number of the row that each goes to, (I,)."""
    flat = values if values.ndim <= 2 else values.flatten(1)
    total = flat.new_zeros((rows, *flat.shape[1:])).index_add(0, index, flat)
    return total if values.ndim <= 2 else total.view(rows, *values.shape[1:])


def weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Values [..., *] times weights [...]."""
    return values * weights[(..., *(None,) * (values.ndim - weights.ndim))]
