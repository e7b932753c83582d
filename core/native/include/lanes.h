// Vectors as wide as those of the processor: 16 float or 8 double lanes with AVX-512, 8 or 4 with AVX2, else 4 or 2.
//
// halo::Vec<T> is a vector of the compiler (GCC and Clang have the same): + - * / and comparisons work by lane, a
// scalar beside a vector counts for each lane, and a * b + c may become one fused operation. Sums over lanes have
// one order, which depends on the number of lanes alone: sum(v) and the lane of sums(...) that belongs to v are equal
// to the bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace halo {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

template <class T>
constexpr int LANES = VECTOR_BYTES / int(sizeof(T));

namespace detail {
template <class T>
struct Vector;
template <>
struct Vector<float> {
  typedef float type __attribute__((vector_size(VECTOR_BYTES)));
  typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));
};
template <>
struct Vector<double> {
  typedef double type __attribute__((vector_size(VECTOR_BYTES)));
  typedef int64_t integers __attribute__((vector_size(VECTOR_BYTES)));
};
}  // namespace detail

template <class T>
using Vec = typename detail::Vector<T>::type;

// The T of a Vec<T>.
template <class V>
using Lane = std::decay_t<decltype(std::declval<V>()[0])>;

// What comparisons of Vec<T> give: -1 where they hold and 0 where not; (a < b) ? x : y picks by lane.
template <class T>
using Mask = typename detail::Vector<T>::integers;

#define HALO_INLINE inline __attribute__((always_inline))

// LANES values from any address; no alignment is asked for.
template <class T>
HALO_INLINE Vec<T> load(const T* from) {
  Vec<T> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

template <class T>
HALO_INLINE void store(T* to, Vec<T> v) {
  std::memcpy(to, &v, sizeof v);
}

// The first `count` values, of which there may be fewer than LANES; the other lanes are zero.
template <class T>
HALO_INLINE Vec<T> load_first(const T* from, int64_t count) {
  Vec<T> v = {};
  if (count > 0) std::memcpy(&v, from, sizeof(T) * size_t(count < LANES<T> ? count : LANES<T>));
  return v;
}

template <class T>
HALO_INLINE void store_first(T* to, Vec<T> v, int64_t count) {
  if (count > 0) std::memcpy(to, &v, sizeof(T) * size_t(count < LANES<T> ? count : LANES<T>));
}

template <class T>
HALO_INLINE Vec<T> broadcast(T value) {
  return value - Vec<T>{};  // minus keeps the sign of a zero
}

namespace detail {

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HALO_SHUFFLE(T, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef HALO_SHUFFLE  // GCC before 12
#define HALO_SHUFFLE(T, a, b, ...) __builtin_shuffle(a, b, Mask<T>{__VA_ARGS__})
#endif

// Lanes that lie together in 16 bytes: shuffles within them are the cheap ones.
template <class T>
constexpr int GROUP = 16 / int(sizeof(T));

// Each lane and the one whose number differs in one bit.
template <class T, int BIT, int... I>
HALO_INLINE Vec<T> plus_other(Vec<T> v, std::integer_sequence<int, I...>) {
  return v + HALO_SHUFFLE(T, v, v, (I ^ BIT)...);
}

// Of a and b the lower or upper halves of each group, interleaved.
template <class T, int UPPER, int... I>
HALO_INLINE Vec<T> unpack(Vec<T> a, Vec<T> b, std::integer_sequence<int, I...>) {
  return HALO_SHUFFLE(T, a, b,
                      (I / GROUP<T> * GROUP<T> + I % GROUP<T> / 2 + UPPER * GROUP<T> / 2 +
                       I % 2 * LANES<T>)...);
}

// Pairs of lanes count as one: of a and b the lower or upper pairs of each group of four.
template <class T, int UPPER, int... I>
HALO_INLINE Vec<T> unpack_pairs(Vec<T> a, Vec<T> b, std::integer_sequence<int, I...>) {
  return HALO_SHUFFLE(T, a, b, (I / 4 * 4 + UPPER * 2 + I % 2 + I / 2 % 2 * LANES<T>)...);
}

// Whole groups: the lower or upper half of a, then that of b.
template <class T, int UPPER, int... I>
HALO_INLINE Vec<T> halves(Vec<T> a, Vec<T> b, std::integer_sequence<int, I...>) {
  return HALO_SHUFFLE(T, a, b, (I % (LANES<T> / 2) + UPPER * LANES<T> / 2 + I / (LANES<T> / 2) * LANES<T>)...);
}

// Whole groups: the even or odd ones of a, then those of b.
template <class T, int ODD, int... I>
HALO_INLINE Vec<T> every_other(Vec<T> a, Vec<T> b, std::integer_sequence<int, I...>) {
  return HALO_SHUFFLE(T, a, b,
                      (I % (LANES<T> / 2) / GROUP<T> * 2 * GROUP<T> + ODD * GROUP<T> + I % GROUP<T> +
                       I / (LANES<T> / 2) * LANES<T>)...);
}

}  // namespace detail

// The sum of all lanes.
template <class V>
HALO_INLINE Lane<V> sum(V v) {
  using T = Lane<V>;
  constexpr int L = LANES<T>, G = detail::GROUP<T>;
  std::make_integer_sequence<int, L> all;
  if constexpr (G == 4) v = detail::plus_other<T, 2>(v, all);
  v = detail::plus_other<T, 1>(v, all);
  if constexpr (L / G >= 2) v = detail::plus_other<T, L / 2>(v, all);
  if constexpr (L / G == 4) v = detail::plus_other<T, G>(v, all);
  return v[0];
}

// The sums of LANES vectors at once: lane i of what is returned is sum(v[i]). They are added as they are transposed:
// for 16 lanes with 45 operations instead of 16 times 8.
template <class V>
HALO_INLINE V sums(const V* v) {
  using T = Lane<V>;
  constexpr int L = LANES<T>, G = detail::GROUP<T>, N = L / G;
  std::make_integer_sequence<int, L> all;
  Vec<T> group[N];
#pragma GCC unroll 4
  for (int k = 0; k < N; k++) {
    const Vec<T>* w = v + k * G;
    Vec<T> pair = detail::unpack<T, 0>(w[0], w[1], all) + detail::unpack<T, 1>(w[0], w[1], all);
    if constexpr (G == 4) {
      Vec<T> next = detail::unpack<T, 0>(w[2], w[3], all) + detail::unpack<T, 1>(w[2], w[3], all);
      pair = detail::unpack_pairs<T, 0>(pair, next, all) + detail::unpack_pairs<T, 1>(pair, next, all);
    }
    group[k] = pair;
  }
  if constexpr (N == 1) return group[0];
  if constexpr (N == 2)
    return detail::halves<T, 0>(group[0], group[1], all) + detail::halves<T, 1>(group[0], group[1], all);
  if constexpr (N == 4) {
    // Groups k and k + 2 are added first, then what is left of those beside each other.
    Vec<T> low = detail::halves<T, 0>(group[0], group[1], all) + detail::halves<T, 1>(group[0], group[1], all);
    Vec<T> high = detail::halves<T, 0>(group[2], group[3], all) + detail::halves<T, 1>(group[2], group[3], all);
    return detail::every_other<T, 0>(low, high, all) + detail::every_other<T, 1>(low, high, all);
  }
}

}  // namespace halo
