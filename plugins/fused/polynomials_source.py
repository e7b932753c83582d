"""C++ of polynomials and of their gradient: straight lines."""

from __future__ import annotations

from collections.abc import Iterable

from halocline.plugins.fused.horner import Horner, Step
from halocline.plugins.fused.polynomials import BLOCK, Monomial, Shape, monomials

#: Atoms that are worked on together, so that their features stay in the second cache for all channels.
_TILE = 32


def source(shape: Shape, scalar: str) -> str:
    """The library of one shape in ``float`` or ``double``."""
    every = monomials(shape)
    firsts = [BLOCK * sum(map(len, every[:result])) for result in range(len(every))]
    parts = [_HEAD.format(scalar=scalar, features=shape.features, results=shape.results, block=BLOCK)]
    parts += [_value(result, own, shape.features) for result, own in enumerate(every)]
    parts += [_gradient(result, own, shape.features) for result, own in enumerate(every)]
    values = [f"\n      y[{r}] = value_{r}(x, c + {first});" for r, first in enumerate(firsts)]
    pulls = [f"\n      gradient_{r}(x, c + {first}, y[{r}], d);" for r, first in enumerate(firsts)]
    told = {"values": "".join(values), "pulls": "".join(pulls), "tile": _TILE, "count": sum(map(len, every))}
    return "".join([*parts, _LOOPS % told])


def _value(result: int, own: tuple[Monomial, ...], features: int) -> str:
    """The function that gives a component of the results."""
    lines = [f"APART V value_{result}(const V* x, const T* c) {{", *_loaded("x", features)]
    return "\n".join([*lines, *_lines(Horner(own, _number).value()), "  return t;", "}", ""])


def _gradient(result: int, own: tuple[Monomial, ...], features: int) -> str:
    """The function that adds its gradient, times g, to d."""
    head = f"APART void gradient_{result}(const V* x, const T* c, V g, V* d) {{"
    lines = [head, *_loaded("x", features), *_loaded("d", features), *_lines(Horner(own, _number).gradient())]
    return "\n".join([*lines, *(f"  d[{k}] = d{k};" for k in range(features)), "}", ""])


def _loaded(name: str, features: int) -> list[str]:
    return [f"  V {name}{k} = {name}[{k}];" for k in range(features)]


def _lines(steps: Iterable[Step]) -> list[str]:
    return [f"  {name} += {value};" if adds else f"  V {name} = {value};" for name, value, adds in steps]


def _number(place: int | None) -> str:
    return "V{}" if place is None else f"load(c + {BLOCK * place})"


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
