// Rows of convolutions in which an edge and its opposite share one look into the table, and their derivatives.
//
// An edge from j to i and its opposite from i to j are equally long, so their weights are the same. A thread goes
// through the rows of a span of atoms in their order; where both atoms of a pair are in it, what the one row gets is
// added together with what the other gets. Edges that leave the span are taken one by one, and all are where spans are
// so small that most would.
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

// Whether opposite edges can be taken together: vectors (count, 3) of both are each other's negatives, as they are but
// where somebody differentiates by one of them, the others of each row are in their order, and images of each other in
// opposite ones. Edges are in theirs.
template <class T>
bool in_order(const Pairs& pairs, const T* vectors) {
  for (int64_t row = 0; row < pairs.edges.rows; row++)
    for (int64_t place = pairs.edges.starts[row]; place < pairs.edges.end(row); place++) {
      if (pairs.opposite[place] >= pairs.edges.count) return false;  // it is none of these edges
      const T *v = vectors + 3 * place, *w = vectors + 3 * pairs.opposite[place];
      if (!(v[0] == -w[0] && v[1] == -w[1] && v[2] == -w[2])) return false;
      if (place == pairs.edges.starts[row]) continue;
      const int64_t step = pairs.other(place) - pairs.other(place - 1);
      if (step < 0 || (step == 0 && pairs.opposite[place] > pairs.opposite[place - 1])) return false;
    }
  return true;
}

// Calls f(place) for the edges of a row from atoms before a limit, in their order.
template <class F>
HALO_INLINE void for_earlier(const Pairs& pairs, int64_t row, int64_t limit, F&& f) {
  const int64_t end = pairs.edges.end(row);
  for (int64_t place = pairs.edges.starts[row], next; place < end && pairs.other(place) < limit; place = next) {
    for (next = place + 1; next < end && pairs.other(next) == pairs.other(place); next++) continue;
    for (int64_t image = next - 1; image >= place; image--) f(image);
  }
}

// For those from the row itself and atoms behind it.
template <class F>
HALO_INLINE void for_later(const Pairs& pairs, int64_t row, F&& f) {
  for (int64_t place = pairs.edges.starts[row]; place < pairs.edges.end(row); place++)
    if (pairs.other(place) >= row) f(place);
}

// Some edges of one row.
struct Chosen : Some {
  int64_t back[EDGES];  // the edges that the other rows have of these pairs
  bool both[EDGES];     // whether the other rows get their shares as well

  void add(const Pairs& pairs, int64_t place, bool shared) {
    edge[count] = pairs.edge(place), back[count] = pairs.back(place);
    other[count] = pairs.other(place), both[count++] = shared;
  }
};

// Hands over edges of one row some at a time.
template <class F>
struct Handed {
  const Pairs& pairs;
  int64_t row;
  F& f;
  bool first;  // whether the row has got nothing yet
  Chosen some = {};

  void operator()(int64_t place, bool shared = false) {
    some.add(pairs, place, shared);
    if (some.count == EDGES) hand();
  }
  void rest() {
    if (first || some.count > 0) hand();
  }

 private:
  void hand() { f(some, row, std::exchange(first, false)), some.count = 0; }
};

// What `for_edges` of plain edges does, in the order of all rows here.
template <class F>
HALO_INLINE void for_edges(const Pairs& pairs, int64_t row, F&& f) {
  auto each = [&](const Chosen& some, int64_t, bool first) { f(some, first); };
  Handed<decltype(each)> handed{pairs, row, each, true};
  for_earlier(pairs, row, row, handed);
  for_later(pairs, row, handed);
  handed.rest();
}

// Rows that one thread goes through.
struct Span {
  int64_t first, last;

  // The n-th of some spans, which have about as many edges each.
  Span(const Edges& edges, int64_t n, int64_t spans) : first(cut(edges, n, spans)), last(cut(edges, n + 1, spans)) {}

  // Whether so many spans are large enough for most edges to stay within theirs.
  static bool hold_most(const Edges& edges, int64_t spans) {
    return spans == 1 || 2 * edges.count * spans <= edges.rows * edges.rows;
  }

 private:
  static int64_t cut(const Edges& edges, int64_t n, int64_t spans) {
    if (n == spans) return edges.rows;
    return std::lower_bound(edges.starts, edges.starts + edges.rows, edges.count * n / spans) - edges.starts;
  }
};

// Goes through the edges of a span, f(edges, row, whether these are the first that the row gets anything of), and says
// g(row) when a row has got everything.
template <class F, class G>
void for_span(const Pairs& pairs, const Span& span, F f, G g) {
  for (int64_t row = span.first; row < span.last; row++) {
    Handed<F> handed{pairs, row, f, true};
    for_earlier(pairs, row, span.first, handed);
    handed.rest();
  }
  for (int64_t row = span.first; row < span.last; row++) {
    Handed<F> handed{pairs, row, f, false};
    for_later(pairs, row, [&](int64_t place) {
      const int64_t other = pairs.other(place);
      handed(place, other > row && other < span.last);
    });
    handed.rest();
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
