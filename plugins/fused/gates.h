// What both directions of gates.cpp are made of: activations, packed weights, pieces.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <utility>

#include "products.h"

namespace {

using halo::Mask;
using halo::broadcast;

constexpr int64_t PIECE = 96;  // edges that go through everything together

// ---- Activations -------------------------------------------------------------------------------------------------

// 2^x = 2^n p(x - n), n next to x. The polynomials are fitted at Chebyshev's nodes: to 9e-9, and to 2e-17.
template <class T>
struct Power;

template <>
struct Power<float> {
  static constexpr int MANTISSA = 23;
  static constexpr float SHIFT = 12582912.0f, MOST = 126.0f;
  static constexpr float TERMS[] = {1.0f,
                                    0.6931471824645996f,
                                    0.24022650718688965f,
                                    0.055503569543361664f,
                                    0.009618082083761692f,
                                    0.0013390874955803156f,
                                    0.00015453173546120524f};
};

template <>
struct Power<double> {
  static constexpr int MANTISSA = 52;
  static constexpr double SHIFT = 6755399441055744.0, MOST = 1022.0;
  static constexpr double TERMS[] = {1.0,
                                     0.6931471805599453,
                                     0.24022650695910097,
                                     0.0555041086648216,
                                     0.009618129107606871,
                                     0.0013333558146416927,
                                     0.00015403530441765088,
                                     1.5252733829851596e-05,
                                     1.321544257022465e-06,
                                     1.0178062436412765e-07,
                                     7.072589488396345e-09,
                                     4.4549624846332125e-10};
};

template <class T>
HALO_INLINE Vec<T> polynomial(Vec<T> x) {
  constexpr int DEGREE = int(sizeof(Power<T>::TERMS) / sizeof(T)) - 1;
  Vec<T> sum = broadcast(Power<T>::TERMS[DEGREE]);
#pragma GCC unroll 16
  for (int term = DEGREE - 1; term >= 0; term--) sum = sum * x + Power<T>::TERMS[term];
  return sum;
}

#if defined(__AVX512F__)
HALO_INLINE Vec<float> power_of_two(Vec<float> x) {
  Vec<float> whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm512_scalef_ps(polynomial<float>(x - whole), whole);
}

HALO_INLINE Vec<double> power_of_two(Vec<double> x) {
  Vec<double> whole = _mm512_roundscale_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm512_scalef_pd(polynomial<double>(x - whole), whole);
}
#else
template <class V>
HALO_INLINE V power_of_two(V x) {
  using T = halo::Lane<V>;
  using P = Power<T>;
  x = x < broadcast(-P::MOST) ? broadcast(-P::MOST) : x;  // written so that NaN stays NaN
  x = x > broadcast(P::MOST) ? broadcast(P::MOST) : x;
  V shifted = x + P::SHIFT;  // its last bits are n
  V power = polynomial<T>(x - (shifted - P::SHIFT));
  return (V)((Mask<T>)power + ((Mask<T>)shifted << P::MANTISSA));
}
#endif

template <class T>
HALO_INLINE Vec<T> sigmoid(Vec<T> z) {
  return T(1) / (T(1) + power_of_two(z * T(-1.44269504088896340736)));
}

template <class T>
struct Swish {
  Vec<T> value, slope;
  HALO_INLINE explicit Swish(Vec<T> z) {
    Vec<T> s = sigmoid<T>(z);
    value = z * s;
    slope = s + value * (T(1) - s);
  }
};

// ---- What is given -----------------------------------------------------------------------------------------------

// Sizes of tensors; channels are rounded up to whole panels, and what is added that way stays zero.
struct Sizes {
  int64_t edges, centres, atoms, channels, units, sums, basis, hidden, at_end, swish;
  int64_t C() const { return (channels + WIDE - 1) / WIDE * WIDE; }
  int64_t U() const { return (units + WIDE - 1) / WIDE * WIDE; }
  int64_t K() const { return (sums + NARROW - 1) / NARROW * NARROW; }
  int64_t B() const { return (basis + NARROW - 1) / NARROW * NARROW; }
  int64_t totals() const { return at_end ? atoms : centres; }
  // Numbers kept of an edge: of one network, and of all.
  int64_t kept_of_network() const { return 2 * U() * (1 + hidden) + 3 * C(); }
  int64_t kept() const { return 2 * C() + 2 * kept_of_network(); }
};

// One network of the two, forward and transposed.
template <class T>
struct Network {
  const T *first, *hidden[2], *hidden_offset, *last[2], *last_offset;
  const T *first_back, *hidden_back[2], *last_back[2];
};

template <class T>
struct Weights {
  const T *three, *weight, *three_back, *weight_back;
  Network<T> networks[2];  // that of edges, that of atoms

  Weights(const T* at, const Sizes& s) {
    int64_t C = s.C(), U = s.U();
    auto next = [&at](int64_t count) { return std::exchange(at, at + count); };
    three = next(s.sums * 2 * C);
    weight = next(s.basis * 2 * C);
    three_back = next(2 * C * s.K());
    weight_back = next(2 * C * s.B());
    for (Network<T>& n : networks) {
      n.first = next(C * 2 * U);
      n.first_back = next(2 * U * C);
      if (s.hidden) {
        for (const T*& w : n.hidden) w = next(U * U);
        for (const T*& w : n.hidden_back) w = next(U * U);
        n.hidden_offset = next(2 * U);
      }
      for (const T*& w : n.last) w = next(U * C);
      for (const T*& w : n.last_back) w = next(C * U);
      n.last_offset = next(2 * C);
    }
  }
};

// The edges first to first + rows; the rows that fill up the last tile repeat an edge, and are not written.
struct Piece {
  int64_t first, rows, filled;
  int64_t sender[PIECE + TILE], receiver[PIECE + TILE];  // those of one more tile are fetched ahead

  Piece(int64_t number, const Sizes& s, const int64_t* senders, const int64_t* receivers) {
    first = number * PIECE;
    rows = std::min(PIECE, s.edges - first);
    filled = (rows + TILE - 1) / TILE * TILE;
    for (int64_t row = 0; row < filled + TILE; row++) {
      sender[row] = senders[edge(row)];
      receiver[row] = receivers[edge(row)];
    }
  }
  int64_t edge(int64_t row) const { return first + std::min(row, rows - 1); }
};

// A vector of a row (width,), zero beyond its end.
template <class T>
HALO_INLINE Vec<T> read(const T* row, int64_t column, int64_t width) {
  if (__builtin_expect(column + LANES<T> <= width, 1)) return load(row + column);
  return halo::load_first(row + column, width - column);
}

template <class T>
HALO_INLINE void write(T* row, int64_t column, int64_t width, Vec<T> v) {
  if (__builtin_expect(column + LANES<T> <= width, 1))
    store(row + column, v);
  else
    halo::store_first(row + column, v, width - column);
}

// Where a number of a piece is in a matrix whose columns lie in panels.
HALO_INLINE int64_t in_panels(int64_t row, int64_t column, int64_t rows) {
  return column / WIDE * rows * WIDE + row * WIDE + column % WIDE;
}

}  // namespace
