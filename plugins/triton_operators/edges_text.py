"""What Triton kernels over edges are written with: harmonics, and weights from a table or from a tensor.

Text is of programs that work on a few edges at a time, (EDGES, 1), by all channels, (1, CHANNELS). What
channels share is computed in the first shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, final

from halocline.plugins.fused.harmonics_terms import harmonics_terms, monomials, slope_terms
from halocline.plugins.fused.panels import PANEL

#: Sizes that change from step to step: Triton would compile anew for those that are multiples of 16, and for 1.
SIZES: Final = ("n_in", "n_out", "edges", "rows", "knots", "panel")

_HEAD: Final = """\
import triton
import triton.language as tl

from halocline.plugins.triton_operators.rows import components, length_of, row_range
from halocline.plugins.triton_operators.splines import (
    cells_of,
    integrals_of,
    slopes_of,
    spline,
    spline_with_slope,
)
"""


def head(max_degree: int) -> str:
    """What a module begins with: harmonics of directions, and their gradients."""
    count = (max_degree + 1) ** 2
    harmonics = [
        f"Y{place} = {' + '.join(f'{c!r} * {name}' for name, c in terms.items())}"
        for place, terms in enumerate(harmonics_terms(max_degree))
        if place
    ]
    pulls = [
        f"t{axis} = {' + '.join(f'{_times(name)}({_sum(factors)})' for name, factors in slopes.items()) or '0.0'}"
        for axis, slopes in enumerate(slope_terms(max_degree))
    ]
    products = [
        [f"{name} = {product}" for name, product in monomials(top)] for top in (max_degree, max_degree - 1)
    ]
    of_directions = f"""

@triton.jit
def harmonics_of(x, y, z):
    {lines([*products[0], *harmonics], 4)}
    return {", ".join(f"Y{place}" for place in range(1, count))}
"""
    return f"""{_HEAD}{of_directions if max_degree else ""}

@triton.jit
def pull_vectors(x, y, z, inverse, along, {", ".join(f"s{place}" for place in range(1, count))}):
    {lines([*products[1], *pulls], 4)}
    along -= (t0 * x + t1 * y + t2 * z) * inverse
    return t0 * inverse + along * x, t1 * inverse + along * y, t2 * inverse + along * z
"""


def kernel(name: str, arguments: Iterable[str]) -> str:
    """The first lines of one, up to its body."""
    told = list(arguments)
    fixed = ", ".join(repr(each) for each in told if each in SIZES)
    signature = ", ".join([*told, "EDGES: tl.constexpr", "CHANNELS: tl.constexpr"])
    return f"@triton.jit(do_not_specialize=[{fixed}])\ndef {name}({signature}):"


def directions(max_degree: int) -> list[str]:
    """Lengths, directions and harmonics of edges."""
    found = ", ".join(f"Y{place}" for place in range(1, (max_degree + 1) ** 2))
    return [
        "x, y, z = components(vectors_at, edge, there)",
        "length = length_of(x, y, z)",
        "x, y, z = x / length, y / length, z / length",
        *([f"{found} = harmonics_of(x, y, z)"] if max_degree else []),
    ]


def pulled_vectors(max_degree: int) -> list[str]:
    """The gradient by vectors, from those by lengths, ``along``, and by harmonics, ``s1``, ... of each channel.

    Channels are added up last, as sums over them wait for all warps of a program: three of them, not one for
    each harmonic.
    """
    given = ", ".join(["along", *(f"s{place}" for place in range(1, (max_degree + 1) ** 2))])
    stored = (
        f"tl.store(by_vectors_at + 3 * edge + {axis}, tl.sum(v{name}, 1, keep_dims=True), mask=there)"
        for axis, name in enumerate("xyz")
    )
    return [f"vx, vy, vz = pull_vectors(x, y, z, 1.0 / length, {given})", *stored]


#: What is added up for some edges and all channels begins with; all arrays of numbers have one dtype.
ZEROS: Final = "tl.zeros((EDGES, CHANNELS), dtype=vectors_at.dtype.element_ty)"


def loaded(name: str, row: str, channels: int, *, source: str | None = None, mask: str = "used") -> str:
    """All channels of a row of an array."""
    return f"{name} = tl.load({source or name}_at + ({row}) * {channels} + channel, mask={mask}, other=0.0)"


def stored(name: str, row: str, channels: int, value: str) -> str:
    """What edges add up to, likewise."""
    return f"tl.store({name}_at + ({row}) * {channels} + channel, tl.sum({value}, 0)[None, :], mask=inside)"


def begin_rows(channels: int, program: str, row: str, rows: str) -> list[str]:
    """What a program begins with that adds up over the edges of one row."""
    return [
        f"{row} = {program}.to(tl.int64)",
        "channel = tl.arange(0, CHANNELS)[None, :]",
        f"inside = channel < {channels}",
        f"begin, end = row_range(starts_at, {row}, {rows}, edges)",
    ]


@final
class Weights:
    """How the weights of messages are read.

    Args:
        paths: P.
        channels: C.
        tabulated: from a table, for each edge the function that ``of_edges_at`` numbers; else from a tensor
            (R, P · C), the row that it numbers. None stands for the only function, and for the row of each edge.
    """

    #: Of kernels that read any.
    ARGUMENTS: Final = ("weights_at", "of_edges_at", "grid_at", "knots", "panel")

    def __init__(self, paths: int, channels: int, *, tabulated: bool) -> None:
        self._paths, self._channels, self.tabulated = paths, channels, tabulated

    def begin(self, *, slopes: bool) -> Iterator[str]:
        """What comes before they are read for some edges."""
        if not self.tabulated:
            yield "number = edge"
            yield from _if_given("number = tl.load(of_edges_at + edge, mask=there, other=0)")
            yield f"weights = weights_at + number * {self._paths * self._channels} + channel"
            return
        yield "cell, t = cells_of(length, grid_at, knots - 6)"
        yield from _if_given("cell += tl.load(of_edges_at + edge, mask=there, other=0) * knots")
        yield "h0, h1, h2 = integrals_of(t)"
        if slopes:
            yield "b0, b1, b2 = slopes_of(t, tl.load(grid_at + 1))"
        stride = self._paths * 2 * PANEL
        yield f"weights = weights_at + channel // {PANEL} * panel + cell * {stride} + channel % {PANEL}"

    def pull(self, arguments: Iterable[str], max_degree: int, body: Iterable[str]) -> str:
        """The kernel that gives the gradient by given weights: a program for some rows of them.

        Args:
            arguments: beside those that it has anyway.
            max_degree: of the harmonics.
            body: adds what the edges of places have of the gradient to ``v0``, ``v1``, ... of all paths.
        """
        own = ("by_weights_at", "pull_at", "vectors_at", "senders_at", "receivers_at", "order_at", "starts_at")
        at = f"by_weights_at + row * {self._paths * self._channels} + channel"
        ends = (
            f"tl.store({at} + {path * self._channels}, v{path}, mask=(row < rows) & inside)"
            for path in range(self._paths)
        )
        return f"""{kernel("pull_weights", [*own, *arguments, "rows", "n_in", "n_out", "edges"])}
    row = tl.program_id(0).to(tl.int64) * EDGES + tl.arange(0, EDGES)[:, None]
    channel = tl.arange(0, CHANNELS)[None, :]
    inside = channel < {self._channels}
    begin = tl.load(starts_at + row, mask=row < rows, other=edges)
    end = tl.load(starts_at + row + 1, mask=row + 1 < rows, other=edges)
    {lines((f"v{path} = {ZEROS}" for path in range(self._paths)), 4)}
    for further in range(0, tl.max(end - begin)):
        there = begin + further < end
        used = there & inside
        edge = tl.load(order_at + begin + further, mask=there, other=0)
        i = tl.load(receivers_at + edge, mask=there, other=0)
        j = tl.load(senders_at + edge, mask=there, other=0)
        {lines([*directions(max_degree), *body], 8)}
    {lines(ends, 4)}"""

    def read(self, path: int, *, slopes: bool) -> str:
        """One of them as ``w``, with its derivative by the length as ``slope`` if there is one."""
        if not self.tabulated:
            return f"w = tl.load(weights + {path * self._channels}, mask=used, other=0.0)"
        told = f"weights + {path * 2 * PANEL}, used, {self._paths * 2 * PANEL}, h0, h1, h2"
        return f"w, slope = spline_with_slope({told}, b0, b1, b2)" if slopes else f"w = spline({told})"


def lines(each: Iterable[str], indent: int) -> str:
    """Text of lines, the first of which is indented already."""
    return ("\n" + " " * indent).join(each)


def _if_given(line: str) -> list[str]:
    return ["if of_edges_at is not None:", f"    {line}"]


def _times(name: str) -> str:
    return f"{name} * " if name else ""


def _sum(factors: dict[int, float]) -> str:
    return " + ".join(f"{c!r} * s{place}" for place, c in factors.items())
