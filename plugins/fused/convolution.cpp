// Convolutions over flat edges, and their derivatives, as operators call them.
#include "convolution.h"
#include "rows.h"

namespace {

// out (rows, channels).
template <class T, class Weights>
void convolve(const Weights& weights, const Edges& edges, const T* values, T* out, int threads) {
  halo::for_rows(edges.rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++)
      convolve_row(weights, edges, row, values, out + row * weights.channels);
  });
}

// by_values (rows, channels), unless it is null.
template <bool BY_VALUES, class T>
void pull(const Table<T>& table, const Edges& edges, const T* gradients, const T* values, T* by_values, T* by_vectors,
          int threads) {
  halo::for_rows(edges.rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t at = row * table.channels;
      pull_row<BY_VALUES>(table, edges, row, gradients, values + at, BY_VALUES ? by_values + at : nullptr, by_vectors);
    }
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
    (by_values == nullptr ? pull<false, T> : pull<true, T>)(                                                        \
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
