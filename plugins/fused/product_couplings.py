"""What a channelwise product does at an edge, as sparse constants: code of any language is written from it.

The constants of a path couple components a of the features with b of the harmonics to c of the result. They come
in where fewest operations on vectors of channels are left to the edges:

* forward with the harmonics, which have no channels: z_ca = Σ_b C_abc Y_b, and messages are Σ_a z_ca (w x_a);
* in reverse with the gradient: k_ab = Σ_c C_abc G_c, from which each edge takes Σ_b k_ab Y_b for the features
  and Σ_a k_ab (w x_a) for the harmonics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.plugins.equivariance import Irrep, Path, coupling, paths, slices
from halocline.plugins.fused.harmonics_terms import square_root

#: A linear combination of numbered values.
Combination = tuple[tuple[int, float], ...]


@final
class Coupling(NamedTuple):
    """One path.

    Attributes:
        number: in the order of `paths`, which is that of the weights.
        left: where its features begin among the components of all.
        right: where its harmonics begin.
        out: where its results begin among those of all paths.
        constants: √(2l₃+1) C_abc, (2l₁ + 1, 2l₂ + 1, 2l₃ + 1).
        before: components of the sums of irreps before the one that it leads to, with their paths.
        together: paths that lead to the same irrep.
        place: of this path among them.
    """

    number: int
    left: int
    right: int
    out: int
    constants: NDArray[np.float64]
    before: int
    together: int
    place: int

    @property
    def features(self) -> range:
        """Components of the features that it reads."""
        return range(self.left, self.left + self.constants.shape[0])

    @property
    def results(self) -> range:
        """Components of its results, among those of all paths."""
        return range(self.out, self.out + self.constants.shape[2])

    def row(self, result: int, n_out: str, i: str) -> str:
        """Where one of its `results` is among the sums, in units of channels, in C++ or Python.

        Args:
            result: its number.
            n_out: the name of the number of receivers.
            i: the name of the receiver.
        """
        return f"{n_out} * {self.before} + ({result - self.out} * {n_out} + {i}) * {self.together} + {self.place}"


@final
class Combinations:
    """Linear combinations, each of them once, whatever its sign."""

    def __init__(self) -> None:
        self.found: dict[Combination, int] = {}

    def number(self, terms: Combination) -> tuple[str, int]:
        """The number of a combination or of its negative, after the sign that it has then."""
        sign = 1.0 if terms[0][1] > 0 else -1.0
        key = tuple((place, sign * factor) for place, factor in terms)
        return "+" if sign > 0 else "-", self.found.setdefault(key, len(self.found))


def couplings(left: Sequence[Irrep], right: Sequence[Irrep], out: Sequence[Irrep]) -> Iterator[Coupling]:
    """All paths; results to one irrep lie together, (2l + 1, n, paths), irreps one after the other."""
    found, begin = paths(left, right, out), 0
    for number, path in enumerate(found):
        together = [each for each, other in enumerate(found) if other.out == path.out]
        before = sum(out[other.out].dimension for other in found[: together[0]])
        starts = slices(left)[path.left].start, slices(right)[path.right].start
        places = before, len(together), number - together[0]
        yield Coupling(number, *starts, begin, _constants(left, right, out, path), *places)
        begin += out[path.out].dimension


def terms(first: int, factors: Iterable[float]) -> Combination:
    """Those that are not zero, numbered from the first."""
    return tuple((first + place, float(factor)) for place, factor in enumerate(factors) if factor)


def of_gradient(each: Coupling, a: int, contracted: Combinations) -> Iterator[tuple[str, int, int]]:
    """The k_ab of a path and a component of its features: their signs, numbers and harmonics."""
    for b in range(each.constants.shape[1]):
        found = terms(each.out, each.constants[a, b])
        if found:
            yield *contracted.number(found), each.right + b


def _constants(
    left: Sequence[Irrep], right: Sequence[Irrep], out: Sequence[Irrep], path: Path
) -> NDArray[np.float64]:
    """What `ChannelwiseProduct` multiplies with."""
    degrees = left[path.left].degree, right[path.right].degree, out[path.out].degree
    exact = np.vectorize(square_root, otypes=[np.float64])
    return exact(coupling(*degrees) * math.sqrt(out[path.out].dimension))  # type: ignore[no-any-return]
