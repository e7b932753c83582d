// Convolutions over flat edges, and their derivatives: at each atom, sums over its edges of w(r) v, for weights w
// from a table of polynomials or given for each edge, and values v of the atoms at the other ends.
//
// Channels are padded to whole vectors by the caller. A row is an atom that edges belong to: their receiver or, where
// the transpose is wanted, their sender. Each row has one writer, which adds up its edges in their order, so that the
// number of threads changes no bit.
#include <cmath>
#include <cstdint>

#include "lanes.h"
#include "rows.h"

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
  int count;
  int64_t edge[EDGES], other[EDGES];

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

// Calls f(N, c) for all channels: N vectors from channel c, as many at a time as registers hold.
template <class T, class F>
HALO_INLINE void for_channels(int64_t channels, F&& f) {
  constexpr int MOST = halo::VECTOR_BYTES == 64 ? 8 : 4;
  int64_t c = 0;
  for (; channels - c >= MOST * LANES<T>; c += MOST * LANES<T>) f(std::integral_constant<int, MOST>(), c);
  for (; channels - c >= 2 * LANES<T>; c += 2 * LANES<T>) f(std::integral_constant<int, 2>(), c);
  for (; c < channels; c += LANES<T>) f(std::integral_constant<int, 1>(), c);
}

// Calls f(some edges, whether they are the first) for all edges of a row, and once where it has none.
template <class F>
HALO_INLINE void for_edges(const Edges& edges, int64_t row, F&& f) {
  const int64_t begin = edges.starts[row], end = edges.end(row);
  for (int64_t first = begin; first == begin || first < end; first += EDGES) f(Some(edges, first, end), first == begin);
}

// out (rows, channels): sums of weights times values (others, channels).
template <class T, class Weights>
void convolve(const Weights& weights, const Edges& edges, const T* values, T* out, int threads) {
  constexpr int L = LANES<T>;
  const int64_t channels = weights.channels;
  halo::for_rows(edges.rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++)
      for_edges(edges, row, [&](const Some& some, bool first) {
        const auto found = of_some(weights, some);
        for_channels<T>(channels, [&](auto count, int64_t c) {
          constexpr int N = decltype(count)::value;
          T* to = out + row * channels + c;
          Vec<T> total[N];
#pragma GCC unroll 8
          for (int n = 0; n < N; n++) total[n] = first ? Vec<T>{} : load(to + n * L);
          for (int k = 0; k < some.count; k++) {
            const T* v = values + some.other[k] * channels + c;
#pragma GCC unroll 8
            for (int n = 0; n < N; n++) total[n] += found.value(k, c + n * L) * load(v + n * L);
          }
#pragma GCC unroll 8
          for (int n = 0; n < N; n++) store(to + n * L, total[n]);
        });
      });
  });
}

// The transpose, with rows at the other end of the edges than in `convolve`: by_values (rows, channels) sums of
// weights times gradients (others, channels), unless it is null; and by_vectors (E, 3), what lengths do to the sum of
// gradients times results, where values (rows, channels) are those that were convolved.
template <class T, bool BY_VALUES>
void pull(const Table<T>& table, const Edges& edges, const T* gradients, const T* values, T* by_values, T* by_vectors,
          int threads) {
  constexpr int L = LANES<T>;
  const int64_t channels = table.channels;
  halo::for_rows(edges.rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++)
      for_edges(edges, row, [&](const Some& some, bool first) {
        const FromTable<T> found(table, some);
        Vec<T> slopes[EDGES] = {};
        for_channels<T>(channels, [&](auto count, int64_t c) {
          constexpr int N = decltype(count)::value;
          const T* own = values + row * channels + c;
          T* to = by_values + row * channels + c;
          Vec<T> total[N];
#pragma GCC unroll 8
          for (int n = 0; n < N; n++) total[n] = !BY_VALUES || first ? Vec<T>{} : load(to + n * L);
          for (int k = 0; k < some.count; k++) {
            const T* g = gradients + some.other[k] * channels + c;
            Vec<T> sum = slopes[k];
#pragma GCC unroll 8
            for (int n = 0; n < N; n++) {
              Vec<T> slope;
              const Vec<T> gradient = load(g + n * L), value = found.value(k, c + n * L, slope);
              if (BY_VALUES) total[n] += value * gradient;
              sum += slope * (gradient * load(own + n * L));
            }
            slopes[k] = sum;
          }
          if (BY_VALUES)
#pragma GCC unroll 8
            for (int n = 0; n < N; n++) store(to + n * L, total[n]);
        });
        T by_offset[EDGES];
        for (int k = 0; k < some.count; k += L) store(by_offset + k, halo::sums(slopes + k));
        for (int k = 0; k < some.count; k++) {
          const T scale = by_offset[k] * table.per_length / found.length[k];
          for (int axis = 0; axis < 3; axis++)
            by_vectors[3 * some.edge[k] + axis] = scale * table.vectors[3 * some.edge[k] + axis];
        }
      });
  });
}

// by_weights (rows, channels): products of gradients at receivers and values at senders. A row of weights is that of
// one edge, first[row] or that of its number, and of the edge that leads back, where there are pairs and this one is
// among the edges.
template <class T>
void pull_weights(int64_t rows, int64_t edges, int64_t channels, const int64_t* first, const int64_t* opposite,
                  const int64_t* senders, const int64_t* receivers, const T* gradients, const T* values,
                  T* by_weights, int threads) {
  halo::for_rows(rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t edge = first == nullptr ? row : first[row];
      const int64_t back = first == nullptr || opposite[edge] >= edges ? edge : opposite[edge];
      const T *g = gradients + receivers[edge] * channels, *v = values + senders[edge] * channels;
      const T *g_back = gradients + receivers[back] * channels, *v_back = values + senders[back] * channels;
      for (int64_t c = 0; c < channels; c += LANES<T>) {
        Vec<T> product = load(g + c) * load(v + c);
        if (back != edge) product += load(g_back + c) * load(v_back + c);
        store(by_weights + row * channels + c, product);
      }
    }
  });
}

}  // namespace

#define HALO_EXPORT(T)                                                                                              \
  extern "C" void convolve_table_##T(                                                                               \
      const T* table, const T* vectors, const T* grid, int64_t intervals, int64_t channels,                         \
      int64_t rows, int64_t edges, const int64_t* starts, const int64_t* order, const int64_t* others,              \
      const T* values, T* out, int64_t threads) {                                                                   \
    convolve(Table<T>{table, vectors, intervals, channels, grid[0], grid[1]},                                \
             Edges{rows, edges, starts, order, others}, values, out, int(threads));                                 \
  }                                                                                                                 \
  extern "C" void pull_table_##T(                                                                                   \
      const T* table, const T* vectors, const T* grid, int64_t intervals, int64_t channels,                         \
      int64_t rows, int64_t edges, const int64_t* starts, const int64_t* order, const int64_t* others,              \
      const T* gradients, const T* values, T* by_values, T* by_vectors, int64_t threads) {                          \
    (by_values == nullptr ? pull<T, false> : pull<T, true>)(                                                        \
        Table<T>{table, vectors, intervals, channels, grid[0], grid[1]},                                     \
        Edges{rows, edges, starts, order, others}, gradients, values, by_values, by_vectors, int(threads));         \
  }                                                                                                                 \
  extern "C" void convolve_rows_##T(                                                                                \
      const T* weights, const int64_t* row_of, int64_t channels, int64_t rows, int64_t edges, const int64_t* starts, \
      const int64_t* order, const int64_t* others, const T* values, T* out, int64_t threads) {                      \
    convolve(Given<T>{weights, row_of, channels}, Edges{rows, edges, starts, order, others}, values, out,           \
             int(threads));                                                                                         \
  }                                                                                                                 \
  extern "C" void pull_rows_##T(                                                                                    \
      int64_t rows, int64_t edges, int64_t channels, const int64_t* first, const int64_t* opposite,                 \
      const int64_t* senders, const int64_t* receivers, const T* gradients, const T* values, T* by_weights,         \
      int64_t threads) {                                                                                            \
    pull_weights(rows, edges, channels, first, opposite, senders, receivers, gradients, values, by_weights,         \
                 int(threads));                                                                                     \
  }

HALO_EXPORT(float)
HALO_EXPORT(double)
