// Rows of convolutions in which an edge and its opposite share one look into the table, and their derivatives.
//
// An edge from j to i and its opposite from i to j are equally long, so their weights are the same. A thread goes
// through the rows of a span of atoms in their order; where both atoms of a pair are in it, what the one row gets is
// added together with what the other gets. Edges that leave the span are taken one by one.
//
// A row adds up its edges in one order, whatever the spans are, so that the number of threads changes no bit: those
// from atoms before it, atom by atom, in the order that their opposites have; and then those from itself and atoms
// behind it, as they come. For this, rows have to be `in_order`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "convolution.h"

namespace {

// Edges of a whole structure by row, in order or in that of their opposites. Row i has the edge (i, j) in one place,
// and row j has its opposite.
struct Pairs {
  Edges edges;
  const int64_t* opposite;  // (count,)

  int64_t edge(int64_t place) const { return edges.order == nullptr ? place : edges.order[place]; }
  int64_t other(int64_t place) const { return edges.others[edge(place)]; }
  // The edge that the other row has of this pair.
  int64_t back(int64_t place) const { return edges.order == nullptr ? opposite[place] : place; }
};

// Whether the others of each row are in their order, and images of each other in opposite ones; the edges are in theirs.
inline bool in_order(const Pairs& pairs) {
  for (int64_t row = 0; row < pairs.edges.rows; row++)
    for (int64_t place = pairs.edges.starts[row] + 1; place < pairs.edges.end(row); place++) {
      const int64_t step = pairs.other(place) - pairs.other(place - 1);
      if (step < 0 || (step == 0 && pairs.opposite[place] > pairs.opposite[place - 1])) return false;
    }
  return true;
}

// Rows that one thread goes through.
struct Span {
  int64_t first, last;

  // The n-th of some spans, which have about as many edges each.
  Span(const Edges& edges, int64_t n, int64_t spans) : first(cut(edges, n, spans)), last(cut(edges, n + 1, spans)) {}

  bool has(int64_t row) const { return first <= row && row < last; }

 private:
  static int64_t cut(const Edges& edges, int64_t n, int64_t spans) {
    if (n == spans) return edges.rows;
    return std::lower_bound(edges.starts, edges.starts + edges.rows, edges.count * n / spans) - edges.starts;
  }
};

// Some edges of one row.
struct Chosen : Some {
  int64_t back[EDGES];  // the edges that the other rows have of these pairs
  bool both[EDGES];     // whether the other rows get their shares as well

  void add(const Pairs& pairs, int64_t place, bool shared) {
    edge[count] = pairs.edge(place), back[count] = pairs.back(place);
    other[count] = pairs.other(place), both[count++] = shared;
  }
};

// Goes through the edges of a span, f(edges, row, whether these are the first that the row gets anything of), and says
// g(row) when a row has got everything.
template <class F, class G>
void for_span(const Pairs& pairs, const Span& span, F f, G g) {
  Chosen some;
  const auto add = [&](int64_t row, int64_t place, bool shared, bool& first) {
    some.add(pairs, place, shared);
    if (some.count == EDGES) f(some, row, std::exchange(first, false)), some.count = 0;
  };
  const auto rest = [&](int64_t row, bool first) {
    if (first || some.count > 0) f(some, row, first), some.count = 0;
  };
  for (int64_t row = span.first; row < span.last; row++) {
    bool first = true;
    const int64_t end = span.first > 0 ? pairs.edges.end(row) : 0;
    for (int64_t place = pairs.edges.starts[row], next; place < end; place = next) {
      const int64_t other = pairs.other(place);
      for (next = place + 1; next < end && pairs.other(next) == other; next++) continue;
      for (int64_t image = next - 1; image >= place && other < span.first; image--) add(row, image, false, first);
    }
    rest(row, first);
  }
  for (int64_t row = span.first; row < span.last; row++) {
    bool first = false;
    for (int64_t place = pairs.edges.starts[row]; place < pairs.edges.end(row); place++) {
      const int64_t other = pairs.other(place);
      if (other >= row) add(row, place, other > row && other < span.last, first);
    }
    rest(row, first);
    g(row);
  }
}

// What `convolve_row` does, for some edges of a row and of others: to (rows, channels).
template <class T>
void convolve_chosen(const Table<T>& table, const Chosen& some, int64_t row, bool first, const T* values, T* to) {
  constexpr int L = LANES<T>;
  const FromTable<T> found(table, some);
  const int64_t C = table.channels;
  for_channels<T>(C, [&](auto vectors, int64_t c) {
    constexpr int N = decltype(vectors)::value;
    const int64_t here = row * C + c;
    Vec<T> own[N], total[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) {
      own[n] = load(values + here + n * L);
      total[n] = first ? Vec<T>{} : load(to + here + n * L);
    }
    const auto add = [&](auto both, int k) __attribute__((always_inline)) {
      const int64_t there = some.other[k] * C + c;
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) {
        const Vec<T> weight = found.value(k, c + n * L);
        total[n] += weight * load(values + there + n * L);
        if (both) store(to + there + n * L, load(to + there + n * L) + weight * own[n]);
      }
    };
    for (int k = 0; k < some.count; k++) some.both[k] ? add(std::true_type(), k) : add(std::false_type(), k);
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) store(to + here + n * L, total[n]);
  });
}

// What `pull_row` does, likewise; to (rows, channels) unless BY_VALUES is false.
template <bool BY_VALUES, class T>
void pull_chosen(const Table<T>& table, const Chosen& some, int64_t row, bool first, const T* gradients,
                 const T* values, T* to, T* by_vectors) {
  constexpr int L = LANES<T>;
  const FromTable<T> found(table, some);
  const int64_t C = table.channels;
  Vec<T> slopes[EDGES], slopes_back[EDGES];
  for (int k = 0; k < (some.count + L - 1) / L * L; k++) slopes[k] = slopes_back[k] = Vec<T>{};
  for_channels<T, MOST / 2>(C, [&](auto vectors, int64_t c) {
    constexpr int N = decltype(vectors)::value;
    const int64_t here = row * C + c;
    Vec<T> own[N], gradient[N], total[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) {
      own[n] = load(values + here + n * L), gradient[n] = load(gradients + here + n * L);
      total[n] = !BY_VALUES || first ? Vec<T>{} : load(to + here + n * L);
    }
    const auto add = [&](auto both, int k) __attribute__((always_inline)) {
      const int64_t there = some.other[k] * C + c;
      Vec<T> sum = slopes[k], sum_back = slopes_back[k];
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) {
        Vec<T> slope;
        const Vec<T> value = found.value(k, c + n * L, slope);
        const Vec<T> arriving = load(gradients + there + n * L);
        if (BY_VALUES) total[n] += value * arriving;
        sum += slope * (arriving * own[n]);
        if (both) {
          if (BY_VALUES) store(to + there + n * L, load(to + there + n * L) + value * gradient[n]);
          sum_back += slope * (gradient[n] * load(values + there + n * L));
        }
      }
      slopes[k] = sum, slopes_back[k] = sum_back;
    };
    for (int k = 0; k < some.count; k++) some.both[k] ? add(std::true_type(), k) : add(std::false_type(), k);
    if (!BY_VALUES) return;
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) store(to + here + n * L, total[n]);
  });
  add_by_lengths(table, found, slopes, some.count, [&](int k) { return some.edge[k]; }, by_vectors);
  add_by_lengths(table, found, slopes_back, some.count, [&](int k) { return some.both[k] ? some.back[k] : -1; },
                 by_vectors);
}

}  // namespace
