"""C++ of polynomials and of their gradient: straight lines.

Monomials share what they begin with (Horner's scheme). What is behind the factors ab, for example, is
t_ab = c_ab + Σ_c c_abc x_c, and behind a: t_a = c_a + Σ_b x_b t_ab; the value is Σ_a x_a t_a. Gradients go the
same way once more, with p_ab = g x_a x_b, the gradient of the value times the factors so far: x_b has p_a t_ab.
"""

from __future__ import annotations

from halocline.plugins.fused.polynomials import BLOCK, Monomial, Shape, monomials

#: Atoms that are worked on together, so that their features stay in the second cache for all channels.
_TILE = 32


def source(shape: Shape, scalar: str) -> str:
    """The library of one shape in ``float`` or ``double``."""
    every = monomials(shape)
    firsts = [BLOCK * sum(map(len, every[:result])) for result in range(len(every))]
    parts = [_HEAD.format(scalar=scalar, features=shape.features, results=shape.results, block=BLOCK)]
    parts += [_Writer(own, shape.features).value(result) for result, own in enumerate(every)]
    parts += [_Writer(own, shape.features).gradient(result) for result, own in enumerate(every)]
    values = [f"\n      y[{r}] = value_{r}(x, c + {first});" for r, first in enumerate(firsts)]
    pulls = [f"\n      gradient_{r}(x, c + {first}, y[{r}], d);" for r, first in enumerate(firsts)]
    told = {"values": "".join(values), "pulls": "".join(pulls), "tile": _TILE, "count": sum(map(len, every))}
    return "".join([*parts, _LOOPS % told])


class _Writer:
    """Writes the functions of one component of the results.

    Args:
        own: its monomials, sorted.
        features: M.
    """

    def __init__(self, own: tuple[Monomial, ...], features: int) -> None:
        self._places = {factors: place for place, factors in enumerate(own)}
        self._after: dict[Monomial, list[int]] = {}
        for factors in own:
            for length in range(len(factors)):
                after = self._after.setdefault(factors[:length], [])
                if factors[length] not in after:
                    after.append(factors[length])
        self._features = range(features)
        self._lines: list[str] = []

    def value(self, result: int) -> str:
        """The function that gives it."""
        self._lines = [f"APART V value_{result}(const V* x, const T* c) {{", *self._loaded("x")]
        self._sum((), "t")
        return "\n".join([*self._lines, "  return t;", "}", ""])

    def gradient(self, result: int) -> str:
        """The function that adds its gradient, times g, to d."""
        head = f"APART void gradient_{result}(const V* x, const T* c, V g, V* d) {{"
        self._lines = [head, *self._loaded("x"), *self._loaded("d")]
        self._pull((), "g", "t")
        stored = [f"  d[{k}] = d{k};" for k in self._features]
        return "\n".join([*self._lines, *stored, "}", ""])

    def _loaded(self, name: str) -> list[str]:
        return [f"  V {name}{k} = {name}[{k}];" for k in self._features]

    def _number(self, factors: Monomial) -> str:
        """The coefficient of a monomial, or zero."""
        return f"load(c + {BLOCK * self._places[factors]})" if factors in self._places else "V{}"

    def _sum(self, factors: Monomial, name: str) -> None:
        """Write what stands behind these factors, as a variable."""
        self._lines.append(f"  V {name} = {self._number(factors)};")
        for k in self._after.get(factors, ()):
            further = (*factors, k)
            if further in self._after:
                inner = f"t{'_'.join(map(str, further))}"
                self._sum(further, inner)
            else:
                inner = self._number(further)
            self._lines.append(f"  {name} += x{k} * {inner};")

    def _pull(self, factors: Monomial, product: str, name: str) -> None:
        """Write the same, and what x has of the gradient by it; ``product`` is g times the factors."""
        self._lines.append(f"  V {name} = {self._number(factors)};")
        for k in self._after.get(factors, ()):
            further = (*factors, k)
            inner = f"t{'_'.join(map(str, further))}"
            if further in self._after:
                own = f"p{'_'.join(map(str, further))}"
                self._lines.append(f"  V {own} = {product} * x{k};")
                self._pull(further, own, inner)
            else:
                self._lines.append(f"  V {inner} = {self._number(further)};")
            self._lines.append(f"  d{k} += {product} * {inner};")
            if factors:
                self._lines.append(f"  {name} += x{k} * {inner};")


_HEAD = """\
#include <cstdint>
#include "lanes.h"
#include "rows.h"
// Never inlined: one function has as many vectors as the registers hold, and compiles in a moment.
#define APART static __attribute__((noinline))
using T = {scalar};
using V = halo::Vec<T>;
constexpr int64_t M = {features}, R = {results}, BLOCK = {block};
using halo::load;
using halo::store;
"""

_LOOPS = """\
// Channels by channels within a tile of atoms, so that a species' coefficients stay in the first cache.
template <class F>
static void for_blocks(int64_t first, int64_t last, int64_t channels, F body) {
  for (int64_t tile = first; tile < last; tile += %(tile)d)
    for (int64_t channel = 0; channel < channels; channel += halo::LANES<T>)
      for (int64_t i = tile; i < last && i < tile + %(tile)d; ++i) body(i, channel);
}
// Coefficients are (channels / BLOCK, species, monomials, BLOCK).
static inline const T* of_species(const T* numbers, int64_t species, int64_t row, int64_t channel) {
  return numbers + (channel / BLOCK * species + row) * %(count)d * BLOCK + channel %% BLOCK;
}
extern "C" void values(const T* features, const T* numbers, const int64_t* rows, T* results, int64_t n,
                       int64_t channels, int64_t species, int threads) {
  halo::for_rows(n, threads, [=](int64_t first, int64_t last) {
    for_blocks(first, last, channels, [=](int64_t i, int64_t channel) {
      const T* c = of_species(numbers, species, rows[i], channel);
      V x[M], y[R];
      for (int64_t m = 0; m < M; ++m) x[m] = load(features + (m * n + i) * channels + channel);%(values)s
      for (int64_t r = 0; r < R; ++r) store(results + (r * n + i) * channels + channel, y[r]);
    });
  });
}
extern "C" void pulls(const T* gradient, const T* features, const T* numbers, const int64_t* rows, T* pulled,
                      int64_t n, int64_t channels, int64_t species, int threads) {
  halo::for_rows(n, threads, [=](int64_t first, int64_t last) {
    for_blocks(first, last, channels, [=](int64_t i, int64_t channel) {
      const T* c = of_species(numbers, species, rows[i], channel);
      V x[M], y[R], d[M] = {};
      for (int64_t m = 0; m < M; ++m) x[m] = load(features + (m * n + i) * channels + channel);
      for (int64_t r = 0; r < R; ++r) y[r] = load(gradient + (r * n + i) * channels + channel);%(pulls)s
      for (int64_t m = 0; m < M; ++m) store(pulled + (m * n + i) * channels + channel, d[m]);
    });
  });
}
"""
