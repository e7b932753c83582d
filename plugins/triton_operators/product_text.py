"""Triton kernels of one channelwise product, written from its sparse couplings (see `product_couplings`).

Sums at receivers go over the edges of each receiver, gradients by features and vectors over those of each sender,
and gradients by given weights over those that share them: each number has one writer. All are straight lines
within the loop over edges, so that values stay in registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, final

import numpy as np

from halocline.plugins.equivariance import Irrep, dimension
from halocline.plugins.fused.product_couplings import Combinations, Coupling, couplings, of_gradient, terms
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

_SUMS: Final = (
    "out_at",
    "x_at",
    "vectors_at",
    "senders_at",
    "starts_at",
    *Weights.ARGUMENTS,
    "n_in",
    "n_out",
    "edges",
)
_PULL: Final = (
    *("by_x_at", "by_vectors_at", "pull_at", "x_at", "vectors_at", "receivers_at", "order_at", "starts_at"),
    *(*Weights.ARGUMENTS, "n_in", "n_out", "edges"),
)


@final
class ProductText:
    """Writes the kernels ``sums``, ``pull`` and, for given weights, ``pull_weights``.

    Args:
        left: irreps of the features.
        right: irreps of the harmonics, all up to a degree.
        out: irreps to keep.
        channels: C.
        tabulated: weights are from a table; else from a tensor.
    """

    def __init__(
        self,
        left: Sequence[Irrep],
        right: Sequence[Irrep],
        out: Sequence[Irrep],
        channels: int,
        *,
        tabulated: bool,
    ) -> None:
        self._couplings = sorted(couplings(left, right, out), key=lambda each: (each.left, each.right))
        self._features, self._max_degree, self._channels = dimension(left), len(right) - 1, channels
        self._weights = Weights(len(self._couplings), channels, tabulated=tabulated)

    def text(self) -> str:
        """The module."""
        kernels = [self._sums(), self._pull()] + ([] if self._weights.tabulated else [self._pull_weights()])
        return "\n\n\n".join([head(self._max_degree), *kernels]) + "\n"

    def _sums(self) -> str:
        mixed, body = Combinations(), list[str]()
        for left, same in groupby(self._couplings, lambda each: each.left):
            group = list(same)
            body += [self._features_of("j", a) for a in group[0].features]
            for each in group:
                body.append(self._weights.read(each.number, slopes=False))
                body += [f"w{a} = w * x{a}" for a in each.features]
                for a, c in np.ndindex(*each.constants.shape[::2]):
                    found = terms(each.right, each.constants[a, :, c])
                    if found:
                        sign, factor = _factor(found, mixed)
                        body.append(f"m{each.out + c} {sign}= w{left + a}{factor}")
        results = [(m, each.row(m, "n_out", "i")) for each in self._couplings for m in each.results]
        combined = [f"z{number} = {_sum(found, 'Y')}" for found, number in mixed.found.items()]
        return f"""{kernel("sums", _SUMS)}
    {lines(begin_rows(self._channels, "tl.program_id(0)", "i", "n_out"), 4)}
    {lines((f"m{m} = {ZEROS}" for m, _ in results), 4)}
    for first in range(begin, end, EDGES):
        edge = first + tl.arange(0, EDGES)[:, None]
        there = edge < end
        used = there & inside
        j = tl.load(senders_at + edge, mask=there, other=0)
        {lines([*directions(self._max_degree), *combined, *self._weights.begin(slopes=False), *body], 8)}
    {lines((stored("out", row, self._channels, f"m{m}") for m, row in results), 4)}"""

    def _pull(self) -> str:
        slopes, contracted, body = self._weights.tabulated, Combinations(), list[str]()
        for each in self._couplings:
            body += [self._weights.read(each.number, slopes=slopes), *self._contract(each, contracted)]
            for a in each.features:
                found = list(of_gradient(each, a - each.left, contracted))
                body += [f"w{a} = w * x{a}"] if each.right else []
                body += [f"s{b} {sign}= w{a} * k{number}" for sign, number, b in found if b]
                body += [f"q{a} = {_signed(found)}", f"d{a} += w * q{a}"]
            if slopes:
                body.append(f"along += slope * ({' + '.join(f'q{a} * x{a}' for a in each.features)})")
        added = ["along", *(f"s{b}" for b in range(1, (self._max_degree + 1) ** 2))]
        features = range(self._features)
        return f"""{kernel("pull", _PULL)}
    {lines(begin_rows(self._channels, "tl.program_id(0)", "j", "n_in"), 4)}
    {lines((self._features_of("j", a, mask="inside") for a in features), 4)}
    {lines((f"d{a} = {ZEROS}" for a in features), 4)}
    for first in range(begin, end, EDGES):
        place = first + tl.arange(0, EDGES)[:, None]
        there = place < end
        used = there & inside
        edge = tl.load(order_at + place, mask=there, other=0)
        i = tl.load(receivers_at + edge, mask=there, other=0)
        {lines([*directions(self._max_degree), *self._weights.begin(slopes=slopes)], 8)}
        {lines((f"{each} = {ZEROS}" for each in added), 8)}
        {lines([*body, *pulled_vectors(self._max_degree)], 8)}
    {lines((stored("by_x", f"{a} * n_in + j", self._channels, f"d{a}") for a in features), 4)}"""

    def _pull_weights(self) -> str:
        contracted, body = Combinations(), list[str]()
        for each in self._couplings:
            body += self._contract(each, contracted)
            for a in each.features:
                found = list(of_gradient(each, a - each.left, contracted))
                body.append(f"v{each.number} += ({_signed(found)}) * x{a}")
        loads = (self._features_of("j", a) for a in range(self._features))
        return self._weights.pull(["x_at"], self._max_degree, [*loads, *body])

    def _contract(self, each: Coupling, contracted: Combinations) -> Iterator[str]:
        """The gradient of the results of a path, and the k that come from it."""
        for m in each.results:
            yield loaded(f"g{m}", each.row(m, "n_out", "i"), self._channels, source="pull")
        before = len(contracted.found)
        for a in each.features:
            list(of_gradient(each, a - each.left, contracted))  # numbers them
        for found, number in list(contracted.found.items())[before:]:
            yield f"k{number} = {_sum(found, 'g')}"

    def _features_of(self, atom: str, a: int, mask: str = "used") -> str:
        """A component of the features."""
        return loaded(f"x{a}", f"{a} * n_in + {atom}", self._channels, source="x", mask=mask)


def _factor(found: tuple[tuple[int, float], ...], mixed: Combinations) -> tuple[str, str]:
    """z_ca of a path as a sign and a factor."""
    (place, factor), *others = found
    if not others and place == 0:  # the first harmonic is 1
        return "+", "" if factor == 1.0 else f" * {factor!r}"
    if not others and factor == 1.0:
        return "+", f" * Y{place}"
    sign, number = mixed.number(found)
    return sign, f" * z{number}"


def _sum(found: tuple[tuple[int, float], ...], name: str) -> str:
    """Of numbered values with factors; what is numbered 0 of harmonics is 1."""
    return " + ".join(
        _product(factor, "" if name + str(place) == "Y0" else f"{name}{place}") for place, factor in found
    )


def _product(factor: float, value: str) -> str:
    if not value:
        return repr(factor)
    return value if factor == 1.0 else f"{factor!r} * {value}"


def _signed(found: list[tuple[str, int, int]]) -> str:
    """Σ k Y of signs, numbers of k, and harmonics."""
    sum_ = " ".join(f"{sign} k{number}{f' * Y{b}' if b else ''}" for sign, number, b in found)
    return sum_.removeprefix("+ ")
