"""C++ of one channelwise product: straight lines of vector operations, written from its sparse couplings.

`product_couplings` says how constants come in. In reverse, gradients are contracted with them once for each
receiver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, final

import numpy as np

from halocline.plugins.equivariance import Irrep, dimension
from halocline.plugins.fused.product_couplings import Combinations, Coupling, couplings, of_gradient, terms

#: Sums that a loop over edges keeps in registers, of which there are 32 or 16, and which other values need, too.
SUMS_OF_32: Final = 16
SUMS_OF_16: Final = 9

#: What every function for the edges of a receiver is given, and where it reads features of channels from c on.
_GIVEN: Final = "const Edges& e, const Tile<{forward}>& tile, const Weights& weights, const T* x"
_READ: Final = "const V x{a} = read<WHOLE>(x + ({a} * e.n_in + j) * CHANNELS + {c}, {c});"


@final
class ProductSource:
    """Writes the functions of one product that ``product.h`` and ``product_calls.h`` call.

    Args:
        left: irreps of the features.
        right: irreps of the harmonics, all up to a degree.
        out: irreps to keep.

    Attributes:
        rows: results of all paths, K.
    """

    def __init__(self, left: Sequence[Irrep], right: Sequence[Irrep], out: Sequence[Irrep]) -> None:
        self._harmonics = dimension(right)
        self._couplings = list(couplings(left, right, out))
        self.rows = sum(len(each.results) for each in self._couplings)
        self._mixed, self._contracted = Combinations(), Combinations()
        self._forward = {most: self._write_forward(most) for most in (SUMS_OF_32, SUMS_OF_16)}
        self._reverse = self._write_reverse()

    def before(self) -> str:
        """What ``product.h`` needs: constants, and a function of harmonics."""
        lines = [
            f"z[{number}] = {' + '.join(f'T({factor!r}) * Y[{b}]' for b, factor in combination)};"
            for combination, number in self._mixed.found.items()
        ]
        return f"""constexpr int HARMONICS = {self._harmonics}, PATHS = {len(self._couplings)};
constexpr int MIXED = {len(self._mixed.found)}, CONTRACTED = {len(self._contracted.found)};

// Constants times harmonics, of edges in the lanes of vectors.
HALO_INLINE void mix(const V* Y, V* z) {{
  {_lines(lines, 2)}
}}"""

    def after(self) -> str:
        """What needs ``product.h``: functions of the edges of one receiver."""
        return f"""#if defined(__AVX__) && !defined(__AVX512F__)
{self._forward[SUMS_OF_16]}
#else
{self._forward[SUMS_OF_32]}
#endif

{self._write_contract()}

{self._reverse}"""

    def _write_forward(self, most: int) -> str:
        """A function for each group of paths, whose sums stay in registers, and one that calls all of them."""
        written, calls = [], []
        for number, group in enumerate(self._groups(most)):
            written.append(self._write_group(number, group))
            calls.append(f"add_up_{number}<WHOLE>(e, tile, weights, x, sums, i, c);")
        return "\n\n".join(
            [
                *written,
                f"""template <bool WHOLE, class Weights>
void add_up({_GIVEN.format(forward="true")}, T* sums, int64_t i, int c) {{
  {_lines(calls, 2)}
}}""",
            ]
        )

    def _groups(self, most: int) -> list[list[Coupling]]:
        """Paths whose features are of one irrep, with so many sums at most."""
        groups: list[list[Coupling]] = []
        for _, same in groupby(sorted(self._couplings, key=lambda each: each.left), lambda each: each.left):
            room = 0
            for each in same:
                if len(each.results) > room:
                    groups.append([])
                    room = most
                groups[-1].append(each)
                room -= len(each.results)
        return groups

    def _write_group(self, number: int, group: Sequence[Coupling]) -> str:
        body = [_READ.format(a=a, c="c") for a in group[0].features]
        for each in group:
            body.append(f"{{ const V w = weight({each.number});")
            body += [f"  const V w{a} = w * x{a};" for a in each.features]
            for a, c in np.ndindex(*each.constants.shape[::2]):
                factor = self._of_harmonics(each, a, c)
                if factor:
                    body.append(f"  m{each.out + c} {factor[0]}= w{each.left + a}{factor[1]};")
            body.append("}")
        results = [(m, _row(each, m)) for each in group for m in each.results]
        ends = [f"write<WHOLE>(sums + ({row}) * CHANNELS + c, m{m}, c);" for m, row in results]
        return f"""template <bool WHOLE, class Weights>
void add_up_{number}({_GIVEN.format(forward="true")}, T* sums, int64_t i, int c) {{
  const auto block = weights.template block<WHOLE>(c);
  const int64_t last = e.end(i);
  V {", ".join(f"m{m} = {{}}" for m, _ in results)};
  for (int64_t edge = e.begin(i); edge < last; ++edge) {{
    const T* q = tile.at(edge);
    const int64_t j = e.senders[edge];
    const auto weight = block.at(tile, edge);
    {_lines(body, 4)}
  }}
  {_lines(ends, 2)}
}}"""

    def _of_harmonics(self, each: Coupling, a: int, c: int) -> tuple[str, str] | None:
        """z_ca of a path as a sign and a factor in C++; None if it is zero."""
        found = terms(each.right, each.constants[a, :, c])
        if not found:
            return None
        (place, factor), *others = found
        if not others and place == 0:  # the first harmonic is 1
            return "+", "" if factor == 1.0 else f" * T({factor!r})"
        if not others and factor == 1.0:
            return "+", _times_harmonic(place)
        sign, number = self._mixed.number(found)
        return sign, f" * q[(HARMONICS + {number}) * LANES]"

    def _write_contract(self) -> str:
        """The k of a receiver, from the gradient of all its sums."""
        lines = [
            f"const V g{m} = read<WHOLE>(pull + ({_row(each, m)}) * CHANNELS + c, c);"
            for each in self._couplings
            for m in each.results
        ]
        for combination, number in self._contracted.found.items():
            sum_ = " + ".join(f"{f'T({factor!r}) * ' if factor != 1.0 else ''}g{m}" for m, factor in combination)
            lines.append(f"k[{number}] = {sum_};")
        return f"""template <bool WHOLE>
void contract(const Edges& e, const T* pull, int64_t i, int c, V* k) {{
  {_lines(lines, 2)}
}}"""

    def _write_reverse(self) -> str:
        """What each edge does with the gradient of its receiver, for WIDTH vectors of channels."""
        body: list[str] = []
        ordered = sorted(self._couplings, key=lambda each: (each.left, each.right))
        for left, same in groupby(ordered, lambda each: each.left):
            body += self._pull_features(left, list(same))
        sums = [f"s{b}" for b in range(self._harmonics)]  # the first one, of a constant, is that by the length
        return f"""template <int WIDTH, bool WHOLE, class Weights>
void pull_row({_GIVEN.format(forward="false")}, const T* pull, T* by_x, T* by_harmonics, int64_t i, int c) {{
  using Block = decltype(weights.template block<WHOLE>(c));
  V contracted[WIDTH][CONTRACTED];
  Block blocks[WIDTH];
  for (int part = 0; part < WIDTH; ++part) {{
    contract<WHOLE>(e, pull, i, c + part * LANES, contracted[part]);
    blocks[part] = weights.template block<WHOLE>(c + part * LANES);
  }}
  const int64_t last = e.end(i);
  for (int64_t edge = e.begin(i); edge < last; ++edge) {{
    const T* q = tile.at(edge);
    const int64_t j = e.senders[edge];
    V {", ".join(f"{sum_} = {{}}" for sum_ in sums)};
    for (int part = 0; part < WIDTH; ++part) {{
      const int at = c + part * LANES;
      const V* k = contracted[part];
      const auto weight = blocks[part].pulls(tile, edge);
      {_lines(body, 6)}
    }}
    const V found[PADDED] = {{{", ".join(sums)}}};
    store_sums(found, by_harmonics + (edge - tile.first) * PADDED);
  }}
}}"""

    def _pull_features(self, left: int, couplings: Sequence[Coupling]) -> Iterator[str]:
        """All paths of one irrep of the features."""
        features = couplings[0].features
        yield from (_READ.format(a=a, c="at") for a in features)
        yield f"V {', '.join(f'd{a}' for a in features)};"
        for each in couplings:
            yield f"{{ const auto w = weight({each.number});"
            if each.right:
                yield from (f"  const V w{a} = w.value * x{a};" for a in features)
            for a in features:
                found = list(of_gradient(each, a - left, self._contracted))
                sum_ = " ".join(f"{sign} k[{number}]{_times_harmonic(b)}" for sign, number, b in found)
                yield f"  const V q{a} = {sum_.removeprefix('+ ')};"
                yield from (f"  s{b} {sign}= w{a} * k[{number}];" for sign, number, b in found if b)
            yield from (f"  d{a} {'=' if each is couplings[0] else '+='} w.value * q{a};" for a in features)
            yield f"  w.pull({' + '.join(f'q{a} * x{a}' for a in features)}, s0);"
            yield "}"
        yield from (f"add<WHOLE>(by_x + ({a} * e.n_in + j) * CHANNELS + at, d{a}, at);" for a in features)

    @property
    def contracted(self) -> int:
        """Vectors that each vector of channels of a receiver's gradient becomes."""
        return len(self._contracted.found)


def _row(each: Coupling, result: int) -> str:
    """Of a result among the sums."""
    return each.row(result, "e.n_out", "i")


def _times_harmonic(harmonic: int) -> str:
    """A factor in C++; the first harmonic is 1."""
    return f" * q[{harmonic} * LANES]" if harmonic else ""


def _lines(lines: Iterable[str], indent: int) -> str:
    return ("\n" + " " * indent).join(lines)
