// Rows shared out among threads.
//
// halo::for_rows(n, threads, f) calls f(first, last) for ranges that make up 0 to n, each row once, and returns when
// all are done. Who writes only what belongs to its rows gets the same bits from any number of threads: f must not
// add up over rows, count on the bounds of ranges, or throw.
//
// All libraries of a process share one pool (rows.cpp). While it is busy, for another caller or this one, a call does
// its rows itself: there are never more threads at work than somebody asked for. A fork of the process begins with
// an empty pool.
#pragma once

#include <cstdint>
#include <type_traits>

namespace halo {

typedef void (*Range)(void* what, int64_t first, int64_t last);
typedef void (*Pool)(int64_t n, int threads, Range range, void* what);

static Pool pool = nullptr;

template <class F>
inline void for_rows(int64_t n, int threads, F&& f) {
  using Function = std::remove_reference_t<F>;
  if (n <= 0) return;
  if (threads <= 1 || n == 1 || pool == nullptr) {
    f(int64_t(0), n);
    return;
  }
  pool(
      n, threads, [](void* what, int64_t first, int64_t last) { (*static_cast<Function*>(what))(first, last); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace halo

// Called once when the library is loaded.
extern "C" void halo_join(void* pool) { halo::pool = reinterpret_cast<halo::Pool>(pool); }
