"""Irreducible representations of O(3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

from halocline.errors import BackboneError

_TERM = re.compile(r"(?:(\d{1,6})x)?(\d{1,2})([eo])")


@final
class Irrep(NamedTuple):
    """How 2l + 1 components change under rotations and inversion.

    Attributes:
        degree: l.
        parity: 1 if inversion keeps the components, -1 if it changes their signs.
    """

    degree: int
    parity: int

    def __str__(self) -> str:
        return f"{self.degree}{'e' if self.parity == 1 else 'o'}"

    @property
    def dimension(self) -> int:
        """Number of its components, 2l + 1."""
        return 2 * self.degree + 1

    def product(self, other: Irrep) -> Iterator[Irrep]:
        """The irreps that a product with another one falls into, |l₁ - l₂| ≤ l ≤ l₁ + l₂."""
        for degree in range(abs(self.degree - other.degree), self.degree + other.degree + 1):
            yield Irrep(degree, self.parity * other.parity)


#: Of one tensor, in the order of its components.
Irreps = tuple[Irrep, ...]


def natural_irreps(max_degree: int) -> Irreps:
    """0e, 1o, 2e, ... up to a degree: those of spherical harmonics, whose parity is (-1)^l."""
    return tuple(Irrep(degree, (-1) ** degree) for degree in range(max_degree + 1))


def dimension(irreps: Sequence[Irrep]) -> int:
    """Number of components of all of them together."""
    return sum(irrep.dimension for irrep in irreps)


def slices(irreps: Sequence[Irrep]) -> list[slice]:
    """Where the components of each one lie among those of all, in order."""
    ends = [dimension(irreps[: place + 1]) for place in range(len(irreps))]
    return [slice(end - irrep.dimension, end) for end, irrep in zip(ends, irreps, strict=True)]


def parse_irreps(text: str) -> list[tuple[int, Irrep]]:
    """Read what is usually written as ``128x0e+128x1o``: how many there are of each.

    Raises:
        BackboneError: the text is something else.
    """
    terms = [_TERM.fullmatch(term.strip()) for term in text.split("+")]
    found = [
        (int(term[1] or 1), Irrep(int(term[2]), 1 if term[3] == "e" else -1)) for term in terms if term is not None
    ]
    if len(found) < len(terms):
        raise BackboneError(f"Irreps are written like '128x0e+128x1o', not {text[:80]!r}.")
    return found
