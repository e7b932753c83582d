// Interactions and readouts of SchNet, each in one call forward and one back; interaction.py says what is computed.
//
// Atoms go through matrices in pieces that stay in the cache, and straight from one to the next. What is kept for the
// way back is what was sent, and the slopes of activations: no exponential is taken twice, and no message is written.
#include "paired.h"
#include "products.h"
#include "rows.h"
#include "softplus.h"

namespace {

constexpr int64_t PIECE = 4 * TILE;  // atoms that go through everything together

// Edges times channels below which a call is over before another thread has been woken and has taken its share.
constexpr int64_t ALONE = 1 << 20;

int64_t whole_panels(int64_t columns) { return (columns + WIDE - 1) / WIDE * WIDE; }

// Calls f(first, count) for all rows, in pieces.
template <class F>
void for_pieces(int64_t rows, int threads, F&& f) {
  halo::for_rows((rows + PIECE - 1) / PIECE, threads, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * PIECE; first < end * PIECE && first < rows; first += PIECE)
      f(first, std::min(PIECE, rows - first));
  });
}

// Calls f(span) for spans that make up all rows, one for each thread: with more of them more pairs leave theirs. Does
// nothing and returns false where spans would not hold most edges, or there are no pairs.
template <class F>
bool for_spans(const Pairs& pairs, int threads, F&& f) {
  const int64_t spans = std::max(threads, 1);
  if (pairs.opposite == nullptr || !Span::hold_most(pairs.edges, spans)) return false;
  halo::for_rows(spans, threads, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++) f(Span(pairs.edges, n, spans));
  });
  return true;
}

// Calls f(first, count) at the last row of each piece of a span.
template <class F>
void for_whole_pieces(const Span& span, int64_t row, F&& f) {
  const int64_t first = row - (row - span.first) % PIECE, count = row + 1 - first;
  if (count == PIECE || row + 1 == span.last) f(first, count);
}

// Rows (count, width) with more behind them for whole tiles: themselves, or a copy with zeros.
template <class T>
const T* filled(const T* rows, int64_t count, int64_t width, T* room) {
  if (count % TILE == 0) return rows;
  std::copy_n(rows, count * width, room);
  std::fill_n(room + count * width, (TILE - count % TILE) * width, T(0));
  return room;
}

// Rows (count, inner) of whole tiles times a packed matrix, plus an offset unless that is null: f(row, column, result)
// for each vector of the first columns, of rows that fill up the last tile as well.
template <class T, class F>
void map(const T* rows, int64_t count, int64_t inner, const T* matrix, const T* offset, int64_t columns, F f) {
  product<T, WIDE>(
      rows, inner, matrix, inner, whole_panels(columns), count,
      [=](int64_t, int64_t column) { return offset == nullptr ? Vec<T>{} : load(offset + column); },
      [=](int64_t row, int64_t column, Vec<T> result) {
        if (column < columns) f(row, column, result);
      });
}

// ---- Interactions --------------------------------------------------------------------------------------------------

// Weights of an interaction of C channels, as interaction.py packs them.
template <class T>
struct Interaction {
  const T *sender, *receiver, *out, *sender_back, *receiver_back, *out_back, *receiver_offset, *out_offset;

  Interaction(const T* at, int64_t C) {
    for (const T** matrix : {&sender, &receiver, &out, &sender_back, &receiver_back, &out_back})
      *matrix = std::exchange(at, at + C * whole_panels(C));
    for (const T** offset : {&receiver_offset, &out_offset}) *offset = std::exchange(at, at + whole_panels(C));
  }
};

// From x (atoms, C) to updated (edges.rows, C). Kept for the way back are what was sent (atoms, C), and behind it the
// slopes of activations (edges.rows, C). `opposite` of each edge is null unless edges are those of a whole structure.
template <class T>
void interact(const Interaction<T>& weights, const Table<T>& table, const Edges& edges, const int64_t* opposite,
              int64_t atoms, const T* x, T* updated, T* kept, int threads) {
  const int64_t C = table.channels;
  if (edges.count * C < ALONE) threads = 1;
  T *sent = kept, *slopes = kept + atoms * C;
  for_pieces(atoms, threads, [&](int64_t first, int64_t count) {
    const T* own = filled(x + first * C, count, C, scratch<T>(PIECE * C));
    map(own, count, C, weights.sender, (const T*)nullptr, C, [=](int64_t row, int64_t column, Vec<T> result) {
      if (row < count) store(sent + (first + row) * C + column, result);
    });
  });
  const auto update = [&](int64_t first, int64_t count, const T* sums) {
    T* active = scratch<T>(3 * PIECE * C);
    const T* own = filled(sums, count, C, active + PIECE * C);
    map(own, count, C, weights.receiver, weights.receiver_offset, C, [=](int64_t row, int64_t column, Vec<T> hidden) {
      const Softplus<T> activated(hidden);
      store(active + row * C + column, activated.value);
      if (row < count) store(slopes + (first + row) * C + column, activated.slope);
    });
    map(active, count, C, weights.out, weights.out_offset, C, [=](int64_t row, int64_t column, Vec<T> change) {
      const int64_t at = (first + row) * C + column;
      if (row < count) store(updated + at, load(x + at) + change);
    });
  };
  const Pairs pairs{edges, opposite};
  const bool done = for_spans(pairs, threads, [&](const Span& span) {  // sums are where what is updated will be
    for_span(
        pairs, span,
        [&](const Chosen& some, int64_t row, bool begin) { convolve_chosen(table, some, row, begin, sent, updated); },
        [&](int64_t row) {
          for_whole_pieces(span, row, [&](int64_t first, int64_t count) { update(first, count, updated + first * C); });
        });
  });
  if (done) return;
  for_pieces(edges.rows, threads, [&](int64_t first, int64_t count) {
    T* sums = scratch<T>(3 * PIECE * C) + 2 * PIECE * C;
    for (int64_t row = first; row < first + count; row++) {
      T* to = sums + (row - first) * C;
      opposite == nullptr ? convolve_row(table, edges, row, sent, to) : convolve_row(table, pairs, row, sent, to);
    }
    update(first, count, sums);
  });
}

// The way back: from gradients (rows, C) by what was updated to by_x (atoms, C), unless it is null, and to by_vectors
// (E, 3), which they are added to. Edges are those of senders. Gradients by sums take the place of slopes.
template <class T, bool BY_X>
void interact_back(const Interaction<T>& weights, const Table<T>& table, const Edges& edges, const int64_t* opposite,
                   int64_t rows, const T* gradients, T* kept, T* by_x, T* by_vectors, int threads) {
  const int64_t C = table.channels;
  if (edges.count * C < ALONE) threads = 1;
  const T* sent = kept;
  T *slopes = kept + edges.rows * C, *by_sums = slopes;
  for_pieces(rows, threads, [&](int64_t first, int64_t count) {
    T* by_hidden = scratch<T>(2 * PIECE * C);
    const T* own = filled(gradients + first * C, count, C, by_hidden + PIECE * C);
    map(own, count, C, weights.out_back, (const T*)nullptr, C, [=](int64_t row, int64_t column, Vec<T> by_active) {
      const Vec<T> slope = row < count ? load(slopes + (first + row) * C + column) : Vec<T>{};
      store(by_hidden + row * C + column, by_active * slope);
    });
    map(by_hidden, count, C, weights.receiver_back, (const T*)nullptr, C, [=](int64_t row, int64_t column, Vec<T> sum) {
      if (row < count) store(by_sums + (first + row) * C + column, sum);
    });
  });
  // From gradients by what was sent, of which there is room for whole tiles.
  const auto update = [&](int64_t first, int64_t count, const T* by_sent) {
    const T* own = filled(by_sent, count, C, scratch<T>(2 * PIECE * C) + PIECE * C);
    map(own, count, C, weights.sender_back, (const T*)nullptr, C, [=](int64_t row, int64_t column, Vec<T> result) {
      const int64_t at = (first + row) * C + column;
      if (row < count) store(by_x + at, first + row < rows ? load(gradients + at) + result : result);
    });
  };
  const Pairs pairs{edges, opposite};
  const bool done = for_spans(pairs, threads, [&](const Span& span) {  // by what was sent, where those by x will be
    for_span(
        pairs, span,
        [&](const Chosen& some, int64_t row, bool begin) {
          pull_chosen<BY_X>(table, some, row, begin, by_sums, sent, by_x, by_vectors);
        },
        [&](int64_t row) {
          if (!BY_X) return;
          for_whole_pieces(span, row, [&](int64_t first, int64_t count) {
            T* by_sent = scratch<T>(2 * PIECE * C);
            std::copy_n(by_x + first * C, count * C, by_sent);  // it is written to before all of it has been read
            update(first, count, by_sent);
          });
        });
  });
  if (done) return;
  for_pieces(edges.rows, threads, [&](int64_t first, int64_t count) {
    T* by_sent = scratch<T>(2 * PIECE * C);
    for (int64_t row = first; row < first + count; row++) {
      const T* own = sent + row * C;
      T* to = by_sent + (row - first) * C;
      opposite == nullptr ? pull_row<BY_X>(table, edges, row, by_sums, own, to, by_vectors)
                          : pull_row<BY_X>(table, pairs, row, by_sums, own, to, by_vectors);
    }
    if (BY_X) update(first, count, by_sent);
  });
}

// ---- Readouts ------------------------------------------------------------------------------------------------------

// Weights of a readout of H units, as interaction.py packs them; H is whole panels.
template <class T>
struct Readout {
  const T *hidden, *hidden_back, *hidden_offset, *out, *out_offset;

  Readout(const T* at, int64_t C, int64_t H) {
    hidden = std::exchange(at, at + C * H);
    hidden_back = std::exchange(at, at + H * whole_panels(C));
    hidden_offset = std::exchange(at, at + H);
    out = std::exchange(at, at + H);
    out_offset = at;
  }
};

// From x (atoms, C) to energies (atoms,), with their derivatives by hidden units (atoms, H) for the way back.
template <class T>
void read_out(const Readout<T>& weights, int64_t atoms, int64_t C, int64_t H, const T* x, T* energies, T* by_hidden,
              int threads) {
  for_pieces(atoms, threads, [&](int64_t first, int64_t count) {
    T* terms = scratch<T>(PIECE * (C + H));
    const T* own = filled(x + first * C, count, C, terms + PIECE * H);
    map(own, count, C, weights.hidden, weights.hidden_offset, H, [=](int64_t row, int64_t column, Vec<T> hidden) {
      const Softplus<T> activated(hidden);
      const Vec<T> weight = load(weights.out + column);
      store(terms + row * H + column, activated.value * weight);
      if (row < count) store(by_hidden + (first + row) * H + column, activated.slope * weight);
    });
    for (int64_t row = 0; row < count; row++) {
      Vec<T> total = {};
      for (int64_t column = 0; column < H; column += LANES<T>) total += load(terms + row * H + column);
      energies[first + row] = halo::sum(total) + *weights.out_offset;
    }
  });
}

// The way back: from gradients (atoms,) by energies to by_x (atoms, C).
template <class T>
void read_out_back(const Readout<T>& weights, int64_t atoms, int64_t C, int64_t H, const T* gradients,
                   const T* by_hidden, T* by_x, int threads) {
  for_pieces(atoms, threads, [&](int64_t first, int64_t count) {
    const T* own = filled(by_hidden + first * H, count, H, scratch<T>(PIECE * H));
    map(own, count, H, weights.hidden_back, (const T*)nullptr, C, [=](int64_t row, int64_t column, Vec<T> result) {
      if (row < count) store(by_x + (first + row) * C + column, result * gradients[first + row]);
    });
  });
}

}  // namespace

#define HALO_EXPORT(T)                                                                                              \
  extern "C" void interact_##T(int64_t atoms, int64_t rows, int64_t edges, int64_t channels, int64_t intervals,     \
                               const T* weights, const T* table, const T* grid, const T* vectors,                   \
                               const int64_t* opposite, const int64_t* starts, const int64_t* senders, const T* x,   \
                               T* updated, T* kept, int64_t threads) {                                               \
    interact(Interaction<T>(weights, channels), Table<T>{table, vectors, intervals, channels, grid[0], grid[1]},    \
             Edges{rows, edges, starts, nullptr, senders}, opposite, atoms, x, updated, kept, int(threads));         \
  }                                                                                                                 \
  extern "C" void interact_back_##T(int64_t atoms, int64_t rows, int64_t edges, int64_t channels, int64_t intervals, \
                                    const T* weights, const T* table, const T* grid, const T* vectors,              \
                                    const int64_t* opposite, const int64_t* starts, const int64_t* order,           \
                                    const int64_t* receivers,                                                       \
                                    const T* gradients, T* kept, T* by_x, T* by_vectors, int64_t threads) {         \
    (by_x == nullptr ? interact_back<T, false> : interact_back<T, true>)(                                           \
        Interaction<T>(weights, channels), Table<T>{table, vectors, intervals, channels, grid[0], grid[1]},         \
        Edges{atoms, edges, starts, order, receivers}, opposite, rows, gradients, kept, by_x, by_vectors,           \
        int(threads));                                                                                              \
  }                                                                                                                 \
  extern "C" void read_out_##T(int64_t atoms, int64_t channels, int64_t units, const T* weights, const T* x,        \
                               T* energies, T* by_hidden, int64_t threads) {                                        \
    read_out(Readout<T>(weights, channels, units), atoms, channels, units, x, energies, by_hidden, int(threads));   \
  }                                                                                                                 \
  extern "C" void read_out_back_##T(int64_t atoms, int64_t channels, int64_t units, const T* weights,               \
                                    const T* gradients, const T* by_hidden, T* by_x, int64_t threads) {             \
    read_out_back(Readout<T>(weights, channels, units), atoms, channels, units, gradients, by_hidden, by_x,         \
                  int(threads));                                                                                    \
  }                                                                                                                 \
  extern "C" void are_paired_##T(int64_t rows, int64_t edges, const int64_t* starts, const int64_t* senders,        \
                                 const int64_t* opposite, const T* vectors, int64_t* found) {                       \
    *found = in_order(Pairs{Edges{rows, edges, starts, nullptr, senders}, opposite}, vectors);                      \
  }

HALO_EXPORT(float)
HALO_EXPORT(double)
