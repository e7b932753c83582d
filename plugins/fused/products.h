// Products of some rows with a packed matrix, in tiles of six rows by some vectors of columns that stay in registers.
// What comes before a product (offsets, rows of atoms) and what follows it (activations, weights) is done there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "lanes.h"

namespace {

using halo::LANES;
using halo::Vec;
using halo::load;
using halo::store;

constexpr int64_t TILE = 6;   // rows of a tile
constexpr int64_t WIDE = 64;  // columns of packed matrices lie together so many at a time
constexpr int64_t NARROW = 16;
#if defined(__AVX512F__)
constexpr int VECTORS = 4;  // of a tile: 24 sums in 32 registers
#else
constexpr int VECTORS = 2;  // 12 in 16
#endif

// Rows (rows, inner), `stride` apart, times a packed matrix (inner, columns). `begin(row, column)` gives what each
// sum begins with, and `end(row, column, sum)` takes it; both are of the vector that begins at a column.
template <class T, int64_t PANEL, class Begin, class End>
__attribute__((noinline)) void product(const T* x, int64_t stride, const T* w, int64_t inner, int64_t columns,
                                       int64_t rows, Begin begin, End end) {
  constexpr int64_t L = LANES<T>;
  constexpr int COUNT = int(std::min<int64_t>(VECTORS, PANEL / L));
  for (int64_t column = 0; column < columns; column += COUNT * L) {
    const T* panel = w + column / PANEL * PANEL * inner + column % PANEL;
    for (int64_t row = 0; row < rows; row += TILE) {
      Vec<T> sum[TILE][COUNT];
#pragma GCC unroll 6
      for (int r = 0; r < TILE; r++)
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; v++) sum[r][v] = begin(row + r, column + v * L);
      const T* from = x + row * stride;
      for (int64_t k = 0; k < inner; k++) {
        Vec<T> weight[COUNT];
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; v++) weight[v] = load(panel + k * PANEL + v * L);
#pragma GCC unroll 6
        for (int r = 0; r < TILE; r++)
#pragma GCC unroll 4
          for (int v = 0; v < COUNT; v++) sum[r][v] += from[r * stride + k] * weight[v];
      }
#pragma GCC unroll 6
      for (int r = 0; r < TILE; r++)
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; v++) end(row + r, column + v * L, sum[r][v]);
    }
  }
}

// Memory of a thread that is there again at the next call.
template <class T>
T* scratch(int64_t count) {
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<T, Free> memory;
  thread_local int64_t room = 0;
  if (count > room) {
    room = (count + 15) / 16 * 16;
    memory.reset(static_cast<T*>(std::aligned_alloc(64, size_t(room) * sizeof(T))));
  }
  return memory.get();
}

}  // namespace
