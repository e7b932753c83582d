// The shifted softplus, log(1 + exp(x)) - log 2, and its derivative, of vectors, with one exponential for both.
#pragma once

#include <cstdint>

#include "lanes.h"

namespace {

using halo::Vec;
using halo::broadcast;

constexpr double LN2 = 0.69314718055994530942;

template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int MANTISSA = 23, POWERS = 8, ATANH = 8;
  static constexpr float LEAST = -126, SHIFT = 12582912;  // 1.5 * 2^23
};
template <>
struct Format<double> {
  static constexpr int MANTISSA = 52, POWERS = 13, ATANH = 18;
  static constexpr double LEAST = -1022, SHIFT = 6755399441055744;  // 1.5 * 2^52
};

// exp(-|x|): 2^y as a whole power, put into the exponent, times the Taylor series of the rest, which is below 1/2.
template <class T>
HALO_INLINE Vec<T> falling(Vec<T> x, Vec<T> magnitude) {
  using F = Format<T>;
  Vec<T> y = magnitude * T(-1 / LN2);
  y = y < F::LEAST ? broadcast(F::LEAST) : y;
  const Vec<T> shifted = y + F::SHIFT;  // its last bits are the whole part
  const Vec<T> rest = (y - (shifted - F::SHIFT)) * T(LN2);
  Vec<T> sum = broadcast(T(1));
#pragma GCC unroll 16
  for (int power = F::POWERS; power > 0; power--) sum = sum * rest * T(1.0 / power) + T(1);
  const Vec<T> found = (Vec<T>)((halo::Mask<T>)sum + ((halo::Mask<T>)shifted << F::MANTISSA));
  return x == x ? found : x;  // NaN has no exponent to add to
}

template <class T>
struct Softplus {
  Vec<T> value, slope;

  HALO_INLINE explicit Softplus(Vec<T> x) {
    const Vec<T> magnitude = x < T(0) ? -x : x, e = falling<T>(x, magnitude);
    slope = (x < T(0) ? e : broadcast(T(1))) / (e + T(1));
    // log(1 + e) = 2 artanh(e / (2 + e)), whose argument is at most 1/3.
    const Vec<T> s = e / (e + T(2)), square = s * s;
    Vec<T> sum = broadcast(T(1.0 / (2 * Format<T>::ATANH + 1)));
#pragma GCC unroll 18
    for (int term = Format<T>::ATANH - 1; term >= 0; term--) sum = sum * square + T(1.0 / (2 * term + 1));
    value = s * sum * T(2) + (x + magnitude) * T(0.5) - T(LN2);
  }
};

}  // namespace
