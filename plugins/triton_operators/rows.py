"""What kernels over edges have in common; see `halocline.plugins.fused.rows` for rows and orders of edges."""

from __future__ import annotations

from typing import Final

import triton
import triton.language as tl

#: Arguments that change from step to step. Triton would compile anew for those that happen to be multiples of 16.
CHANGING: Final = ("rows", "edges", "count")


@triton.jit
def row_range(starts_at, row, rows, edges):
    """The places of a row's edges in the order: the first, and one after the last."""
    return tl.load(starts_at + row), tl.load(starts_at + row + 1, mask=row + 1 < rows, other=edges)


@triton.jit
def components(vectors_at, edge, there):
    """x, y and z of edges' vectors; those that are not there have some that is not zero."""
    x = tl.load(vectors_at + 3 * edge, mask=there, other=1.0)
    y = tl.load(vectors_at + 3 * edge + 1, mask=there, other=0.0)
    z = tl.load(vectors_at + 3 * edge + 2, mask=there, other=0.0)
    return x, y, z


@triton.jit
def length_of(x, y, z):
    """Lengths of vectors, rounded as by torch."""
    squared = x * x + y * y + z * z
    return tl.sqrt_rn(squared) if squared.dtype == tl.float32 else tl.sqrt(squared)
