"""Triton kernels of sums of radial functions times harmonics; see `halocline.plugins.fused.density`.

A program sums for a receiver and a species of senders, and leaves out the edges of others: functions are few, so
that reading all edges for each species costs less than to sort them. Functions are in the place of channels.
"""

from __future__ import annotations

from typing import Final

from halocline.plugins.triton_operators.edges_text import (
    ZEROS,
    Weights,
    begin_rows,
    directions,
    head,
    kernel,
    lines,
    loaded,
    pulled_vectors,
    stored,
)

_COMMON: Final = (
    "vectors_at",
    "senders_at",
    "starts_at",
    "kinds_at",
    *Weights.ARGUMENTS,
    "species",
    "n_out",
    "edges",
)


def density_text(max_degree: int, functions: int, *, tabulated: bool) -> str:
    """The module with the kernels ``sums``, ``pull`` and, for given values, ``pull_weights``.

    Args:
        max_degree: of the harmonics.
        functions: R.
        tabulated: functions are from a table; else their values from a tensor.
    """
    weights, count = Weights(1, functions, tabulated=tabulated), (max_degree + 1) ** 2
    rows = [f"(({m} * n_out + i) * species + kind)" for m in range(count)]
    along = " + ".join(["g0", *(f"g{m} * Y{m}" for m in range(1, count))])
    gradients = [loaded(f"g{m}", row, functions, source="pull") for m, row in enumerate(rows)]
    kinds = ["kind = 0", "if kinds_at is not None:", "    kind = tl.load(kinds_at + j, mask=there, other=0)"]
    added = [f"m{m} += w{f' * Y{m}' if m else ''}" for m in range(count)]
    pulled = [f"s{m} = g{m} * w" for m in range(1, count)]
    by_length = f"slope * ({along})" if tabulated else ZEROS
    sums = f"""{kernel("sums", ["out_at", *_COMMON])}
    {lines(begin_rows(functions, "tl.program_id(0)", "i", "n_out"), 4)}
    kind = tl.program_id(1)
    {lines((f"m{m} = {ZEROS}" for m in range(count)), 4)}
    for first in range(begin, end, EDGES):
        edge = first + tl.arange(0, EDGES)[:, None]
        there = edge < end
        j = tl.load(senders_at + edge, mask=there, other=0)
        if kinds_at is not None:
            there = there & (tl.load(kinds_at + j, mask=there, other=0) == kind)
        used = there & inside
        {lines([*directions(max_degree), *weights.begin(slopes=False), weights.read(0, slopes=False), *added], 8)}
    {lines((stored("out", row, functions, f"m{m}") for m, row in enumerate(rows)), 4)}"""
    read = [*weights.begin(slopes=tabulated), weights.read(0, slopes=tabulated), *kinds, *gradients]
    found = [*pulled, f"along = {by_length}", *pulled_vectors(max_degree)]
    pull = f"""{kernel("pull", ["by_vectors_at", "pull_at", *_COMMON])}
    {lines(begin_rows(functions, "tl.program_id(0)", "i", "n_out"), 4)}
    for first in range(begin, end, EDGES):
        edge = first + tl.arange(0, EDGES)[:, None]
        there = edge < end
        used = there & inside
        j = tl.load(senders_at + edge, mask=there, other=0)
        {lines([*directions(max_degree), *read, *found], 8)}"""
    kernels = [head(max_degree), sums, pull]
    if not tabulated:
        kernels.append(weights.pull(["kinds_at", "species"], max_degree, [*kinds, *gradients, f"v0 += {along}"]))
    return "\n\n\n".join(kernels) + "\n"
