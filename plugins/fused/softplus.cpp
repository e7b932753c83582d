// The shifted softplus and its derivative, number by number.
#include "rows.h"
#include "softplus.h"

namespace {

using halo::LANES;

// Numbers that one call of a thread works on.
constexpr int64_t PIECE = 1024;

// Calls f(place, how many) for all vectors of count numbers.
template <class T, class F>
void for_vectors(int64_t count, int threads, F&& f) {
  halo::for_rows((count + PIECE - 1) / PIECE, threads, [&](int64_t first, int64_t last) {
    const int64_t end = last * PIECE < count ? last * PIECE : count;
    int64_t place = first * PIECE;
    for (; place + LANES<T> <= end; place += LANES<T>) f(place, std::integral_constant<int64_t, LANES<T>>());
    if (place < end) f(place, end - place);
  });
}

}  // namespace

#define HALO_EXPORT(T)                                                                                              \
  extern "C" void softplus_##T(int64_t count, const T* x, T* out, int64_t threads) {                                \
    for_vectors<T>(count, int(threads), [&](int64_t place, auto lanes) {                                            \
      halo::store_first(out + place, Softplus<T>(halo::load_first(x + place, lanes)).value, lanes);                 \
    });                                                                                                             \
  }                                                                                                                 \
  extern "C" void pull_softplus_##T(int64_t count, const T* gradients, const T* x, T* out, int64_t threads) {       \
    for_vectors<T>(count, int(threads), [&](int64_t place, auto lanes) {                                            \
      const Vec<T> slope = Softplus<T>(halo::load_first(x + place, lanes)).slope;                                   \
      halo::store_first(out + place, halo::load_first(gradients + place, lanes) * slope, lanes);                    \
    });                                                                                                             \
  }

HALO_EXPORT(float)
HALO_EXPORT(double)
