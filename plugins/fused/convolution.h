// Rows of convolutions over flat edges, and of their derivatives: at each atom, sums over its edges of w(r) v, for
// weights w from a table of polynomials or given for each edge, and values v of the atoms at the other ends.
//
// Channels are padded to whole vectors by the caller. A row is an atom that edges belong to: their receiver or, where
// the transpose is wanted, their sender. Each row has one writer, which adds up its edges in their order, so that the
// number of threads changes no bit.
#pragma once

#include <cmath>
#include <cstdint>

#include "lanes.h"

namespace {

using halo::LANES;
using halo::Vec;
using halo::broadcast;
using halo::load;
using halo::store;

// Edges of a row that are worked on at a time; a multiple of all lanes.
constexpr int EDGES = 64;

// Which edges rows have.
struct Edges {
  int64_t rows, count;
  const int64_t* starts;  // (rows,) the place of each row's first edge in the order
  const int64_t* order;   // (count,) edges, row after row; null where they are in this order
  const int64_t* others;  // (count,) by edge, the atom at the other end

  int64_t end(int64_t row) const { return row + 1 < rows ? starts[row + 1] : count; }
};

// Some edges of one row.
struct Some {
  int count = 0;
  int64_t edge[EDGES], other[EDGES];

  Some() = default;
  Some(const Edges& edges, int64_t first, int64_t last) : count(int(last - first < EDGES ? last - first : EDGES)) {
    for (int k = 0; k < count; k++) edge[k] = edges.order == nullptr ? first + k : edges.order[first + k];
    for (int k = 0; k < count; k++) other[k] = edges.others[edge[k]];
  }
};

// Weights that are cubic polynomials of the length on even intervals: four rows of coefficients for each interval,
// and for what is beyond the last one.
template <class T>
struct Table {
  const T* rows;
  const T* vectors;  // (E, 3)
  int64_t intervals, channels;
  T start, per_length;
};

// Weights that are given in rows.
template <class T>
struct Given {
  const T* rows;
  const int64_t* of;  // (E,) which row an edge has; null where it is that of its number
  int64_t channels;
};

// The weights of some edges.
template <class T>
struct FromTable {
  int64_t channels;
  const T* row[EDGES];
  T offset[EDGES], length[EDGES];

  FromTable(const Table<T>& table, const Some& some) : channels(table.channels) {
    for (int k = 0; k < some.count; k++) {
      const T* v = table.vectors + 3 * some.edge[k];
      length[k] = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    }
    T place[EDGES];
    for (int k = 0; k < some.count; k++) {
      length[k] = std::sqrt(length[k]);
      const T at = (length[k] - table.start) * table.per_length;
      // NaN is beyond the end, and stays NaN in the offset.
      place[k] = at < T(table.intervals) ? (at > 0 ? T(int32_t(at)) : T(0)) : T(table.intervals);
      offset[k] = at - place[k];
    }
    for (int k = 0; k < some.count; k++) row[k] = table.rows + int64_t(place[k]) * 4 * channels;
  }

  HALO_INLINE Vec<T> value(int k, int64_t c) const {
    const T* p = row[k] + c;
    const Vec<T> t = broadcast(offset[k]);
    return ((load(p + 3 * channels) * t + load(p + 2 * channels)) * t + load(p + channels)) * t + load(p);
  }

  // The value, and the derivative by the offset: Horner's scheme on its own intermediate values.
  HALO_INLINE Vec<T> value(int k, int64_t c, Vec<T>& slope) const {
    const T* p = row[k] + c;
    const Vec<T> t = broadcast(offset[k]), third = load(p + 3 * channels);
    const Vec<T> second = third * t + load(p + 2 * channels), first = second * t + load(p + channels);
    slope = (third * t + second) * t + first;
    return first * t + load(p);
  }
};

template <class T>
struct FromRows {
  const T* row[EDGES];

  FromRows(const Given<T>& given, const Some& some) {
    for (int k = 0; k < some.count; k++)
      row[k] = given.rows + (given.of == nullptr ? some.edge[k] : given.of[some.edge[k]]) * given.channels;
  }

  HALO_INLINE Vec<T> value(int k, int64_t c) const { return load(row[k] + c); }
};

template <class T>
FromTable<T> of_some(const Table<T>& table, const Some& some) { return FromTable<T>(table, some); }
template <class T>
FromRows<T> of_some(const Given<T>& given, const Some& some) { return FromRows<T>(given, some); }

// Vectors of channels that registers hold beside what else is needed, if each counts once.
constexpr int MOST = halo::VECTOR_BYTES == 64 ? 8 : 4;

// Calls f(N, c) for all channels: N vectors from channel c, as many at a time as are allowed.
template <class T, int ALLOWED = MOST, class F>
HALO_INLINE void for_channels(int64_t channels, F&& f) {
  int64_t c = 0;
  if constexpr (ALLOWED > 4)
    for (; channels - c >= 8 * LANES<T>; c += 8 * LANES<T>) f(std::integral_constant<int, 8>(), c);
  if constexpr (ALLOWED > 2)
    for (; channels - c >= 4 * LANES<T>; c += 4 * LANES<T>) f(std::integral_constant<int, 4>(), c);
  for (; channels - c >= 2 * LANES<T>; c += 2 * LANES<T>) f(std::integral_constant<int, 2>(), c);
  for (; c < channels; c += LANES<T>) f(std::integral_constant<int, 1>(), c);
}

// Calls f(some edges, whether they are the first) for all edges of a row, and once where it has none.
template <class F>
HALO_INLINE void for_edges(const Edges& edges, int64_t row, F&& f) {
  const int64_t begin = edges.starts[row], end = edges.end(row);
  for (int64_t first = begin; first == begin || first < end; first += EDGES) f(Some(edges, first, end), first == begin);
}

// to (channels,): the sum of weights times values (others, channels) of one row.
template <class T, class Weights, class List>
void convolve_row(const Weights& weights, const List& edges, int64_t row, const T* values, T* to) {
  constexpr int L = LANES<T>;
  for_edges(edges, row, [&](const Some& some, bool first) {
    const auto found = of_some(weights, some);
    for_channels<T>(weights.channels, [&](auto count, int64_t c) {
      constexpr int N = decltype(count)::value;
      Vec<T> total[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) total[n] = first ? Vec<T>{} : load(to + c + n * L);
      for (int k = 0; k < some.count; k++) {
        const T* v = values + some.other[k] * weights.channels + c;
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) total[n] += found.value(k, c + n * L) * load(v + n * L);
      }
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) store(to + c + n * L, total[n]);
    });
  });
}

// Adds to by_vectors (E, 3) what lengths do, by the lanes of derivatives by the offsets of some edges. edge(k) says
// whose the k-th is, or -1.
template <class T, class F>
HALO_INLINE void add_by_lengths(const Table<T>& table, const FromTable<T>& found, const Vec<T>* slopes, int count,
                                F&& edge, T* by_vectors) {
  T by_offset[EDGES];
  for (int k = 0; k < count; k += LANES<T>) store(by_offset + k, halo::sums(slopes + k));
  for (int k = 0; k < count; k++) {
    const int64_t at = 3 * edge(k);
    if (at < 0) continue;
    const T scale = by_offset[k] * table.per_length / found.length[k];
    for (int axis = 0; axis < 3; axis++) by_vectors[at + axis] += scale * table.vectors[at + axis];
  }
}

// The transpose, of a row at the other end of the edges than in `convolve_row`: to (channels,), the sum of weights
// times gradients (others, channels), unless it is null; and to by_vectors (E, 3) is added what lengths do to the sum
// of gradients times results, where own (channels,) are the values of the row that were convolved.
template <bool BY_VALUES, class T, class List>
void pull_row(const Table<T>& table, const List& edges, int64_t row, const T* gradients, const T* own, T* to,
              T* by_vectors) {
  constexpr int L = LANES<T>;
  for_edges(edges, row, [&](const Some& some, bool first) {
    const FromTable<T> found(table, some);
    Vec<T> slopes[EDGES];  // whole vectors of edges are added up over channels
    for (int k = 0; k < (some.count + L - 1) / L * L; k++) slopes[k] = Vec<T>{};
    for_channels<T>(table.channels, [&](auto count, int64_t c) {
      constexpr int N = decltype(count)::value;
      Vec<T> total[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) total[n] = !BY_VALUES || first ? Vec<T>{} : load(to + c + n * L);
      for (int k = 0; k < some.count; k++) {
        const T* g = gradients + some.other[k] * table.channels + c;
        Vec<T> sum = slopes[k];
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) {
          Vec<T> slope;
          const Vec<T> gradient = load(g + n * L), value = found.value(k, c + n * L, slope);
          if (BY_VALUES) total[n] += value * gradient;
          sum += slope * (gradient * load(own + c + n * L));
        }
        slopes[k] = sum;
      }
      if (BY_VALUES)
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) store(to + c + n * L, total[n]);
    });
    add_by_lengths(table, found, slopes, some.count, [&](int k) { return some.edge[k]; }, by_vectors);
  });
}

}  // namespace
