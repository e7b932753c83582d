"""Polynomials and their gradients as assignments one after the other, which code is written from.

Monomials share what they begin with (Horner's scheme). What is behind the factors ab, for example, is
t_ab = c_ab + Σ_c c_abc x_c, and behind a: t_a = c_a + Σ_b x_b t_ab; the value is Σ_a x_a t_a. Gradients go the
same way once more, with p_ab = g x_a x_b, the gradient of the value times the factors so far: x_b has p_a t_ab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, final

from halocline.plugins.fused.polynomials import Monomial


@final
class Step(NamedTuple):
    """An assignment.

    Attributes:
        name: of the variable.
        value: sums and products of variables, and of coefficients as the language writes them.
        adds: whether to the variable; else this makes it.
    """

    name: str
    value: str
    adds: bool


@final
class Horner:
    """The steps of one component of the results.

    Variables ``x0``, ``x1``, ... are the features, ``d0``, ``d1``, ... their gradients, which are there before.

    Args:
        own: its monomials, sorted.
        coefficient: writes the coefficient of the monomial of a number, or zero for None.
    """

    def __init__(self, own: tuple[Monomial, ...], coefficient: Callable[[int | None], str]) -> None:
        self._places = {factors: place for place, factors in enumerate(own)}
        self._coefficient = coefficient
        self._after: dict[Monomial, list[int]] = {}
        for factors in own:
            for length in range(len(factors)):
                after = self._after.setdefault(factors[:length], [])
                if factors[length] not in after:
                    after.append(factors[length])

    def value(self, factors: Monomial = (), name: str = "t") -> Iterator[Step]:
        """What stands behind these factors, as a variable: behind none, the value."""
        yield self._begin(factors, name)
        for k in self._after.get(factors, ()):
            further = (*factors, k)
            if further in self._after:
                inner = _named("t", further)
                yield from self.value(further, inner)
            else:
                inner = self._number(further)
            yield Step(name, f"x{k} * {inner}", adds=True)

    def gradient(self, factors: Monomial = (), product: str = "g", name: str = "t") -> Iterator[Step]:
        """The same, and what x has of the gradient by it; ``product`` is g times the factors."""
        yield self._begin(factors, name)
        for k in self._after.get(factors, ()):
            further = (*factors, k)
            inner = _named("t", further)
            if further in self._after:
                own = _named("p", further)
                yield Step(own, f"{product} * x{k}", adds=False)
                yield from self.gradient(further, own, inner)
            else:
                yield self._begin(further, inner)
            yield Step(f"d{k}", f"{product} * {inner}", adds=True)
            if factors:
                yield Step(name, f"x{k} * {inner}", adds=True)

    def _begin(self, factors: Monomial, name: str) -> Step:
        return Step(name, self._number(factors), adds=False)

    def _number(self, factors: Monomial) -> str:
        return self._coefficient(self._places.get(factors))


def _named(letter: str, factors: Monomial) -> str:
    return letter + "_".join(map(str, factors))
