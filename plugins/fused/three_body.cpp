// Three-body sums of M3GNet's edges and their derivative, a centre at a time; three_body.py says what they are.
//
// The edges of a centre that reach others lie side by side in vectors, so a moment is a sum over lanes. Edges beyond
// the cutoff of three-body terms take no part.
#include <algorithm>
#include <cmath>
#include <vector>

#include "lanes.h"
#include "rows.h"

namespace {

using halo::LANES;
using halo::Vec;
using halo::broadcast;
using halo::load;
using halo::store;

constexpr int MOST = 16;  // harmonics

// Y_lm of unit vectors, l-major.
template <class T>
void harmonics(int degrees, Vec<T> x, Vec<T> y, Vec<T> z, Vec<T>* to) {
  using V = Vec<T>;
  const double pi = 3.14159265358979323846;
  *to++ = broadcast(T(std::sqrt(1.0 / (4.0 * pi))));
  if (degrees > 1) {
    T norm = T(std::sqrt(3.0 / (4.0 * pi)));
    *to++ = norm * y, *to++ = norm * z, *to++ = norm * x;
  }
  V square = x * x + y * y + z * z;
  if (degrees > 2) {
    T norm = T(std::sqrt(15.0 / (4.0 * pi))), third = norm / T(std::sqrt(12.0)), half = norm / T(2);
    *to++ = norm * x * y, *to++ = norm * y * z, *to++ = third * (T(3) * z * z - square);
    *to++ = norm * x * z, *to++ = half * (x * x - y * y);
  }
  if (degrees > 3) {
    double norm = std::sqrt(7.0 / (16.0 * pi));
    T outer = T(norm * std::sqrt(2.5)), middle = T(norm * std::sqrt(15.0)), inner = T(norm * std::sqrt(1.5));
    *to++ = outer * y * (T(3) * x * x - y * y), *to++ = T(2) * middle * x * y * z;
    *to++ = inner * y * (T(5) * z * z - square), *to++ = T(norm) * z * (T(5) * z * z - T(3) * square);
    *to++ = inner * x * (T(5) * z * z - square), *to++ = middle * z * (x * x - y * y);
    *to++ = outer * x * (x * x - T(3) * y * y);
  }
}

// Cotangents of x, y and z from those of harmonics.
template <class T>
void pull_harmonics(int degrees, Vec<T> x, Vec<T> y, Vec<T> z, const Vec<T>* by, Vec<T> (&to)[3]) {
  const double pi = 3.14159265358979323846;
  to[0] = to[1] = to[2] = Vec<T>{};
  auto add = [&to](Vec<T> g, Vec<T> dx, Vec<T> dy, Vec<T> dz) {
    to[0] += g * dx, to[1] += g * dy, to[2] += g * dz;
  };
  const Vec<T> zero = {}, one = broadcast(T(1)), square = x * x + y * y + z * z;
  by++;
  if (degrees > 1) {
    T norm = T(std::sqrt(3.0 / (4.0 * pi)));
    add(norm * *by++, zero, one, zero), add(norm * *by++, zero, zero, one), add(norm * *by++, one, zero, zero);
  }
  if (degrees > 2) {
    T norm = T(std::sqrt(15.0 / (4.0 * pi))), third = norm / T(std::sqrt(12.0)), half = norm / T(2);
    add(norm * *by++, y, x, zero), add(norm * *by++, zero, z, y);
    add(third * *by++, T(-2) * x, T(-2) * y, T(4) * z);
    add(norm * *by++, z, zero, x), add(half * *by++, T(2) * x, T(-2) * y, zero);
  }
  if (degrees > 3) {
    double norm = std::sqrt(7.0 / (16.0 * pi));
    T outer = T(norm * std::sqrt(2.5)), middle = T(norm * std::sqrt(15.0)), inner = T(norm * std::sqrt(1.5));
    Vec<T> flat = T(5) * z * z - square, saddle = T(3) * (x * x - y * y);
    add(outer * *by++, T(6) * x * y, saddle, zero), add(T(2) * middle * *by++, y * z, x * z, x * y);
    add(inner * *by++, T(-2) * x * y, flat - T(2) * y * y, T(8) * y * z);
    add(T(norm) * *by++, T(-6) * x * z, T(-6) * y * z, T(9) * z * z - T(3) * square);
    add(inner * *by++, flat - T(2) * x * x, T(-2) * x * y, T(8) * x * z);
    add(middle * *by++, T(2) * x * z, T(-2) * y * z, x * x - y * y);
    add(outer * *by++, saddle, T(-6) * x * y, zero);
  }
}

template <class T>
struct ThreeBody {
  int64_t edges, centres, degrees, count;  // L degrees with so many radial functions each
  bool from_end;
  const T *vectors, *weights, *envelope, *gates;
  const int64_t *senders, *receivers;

  int64_t K() const { return degrees * count; }

  // The edges of one centre that have three-body terms, side by side: arrays (columns, lanes of all edges).
  struct Row {
    const ThreeBody& of;
    std::vector<int64_t> edge;
    int64_t lanes = 0;  // a whole number of vectors
    std::vector<T> x, y, z, length, f, weight, gate, Y, moments;

    explicit Row(const ThreeBody& of) : of(of) {}

    void read(int64_t first, int64_t last) {
      edge.clear();
      for (int64_t e = first; e < last; e++)
        if (of.envelope[e] != T(0)) edge.push_back(e);
      int64_t n = int64_t(edge.size()), L = LANES<T>, K = of.K();
      lanes = (n + L - 1) / L * L;
      for (auto* each : {&x, &y, &z, &length, &f}) each->assign(size_t(lanes), T(0));
      for (auto* each : {&weight, &gate}) each->assign(size_t(K * lanes), T(0));
      Y.assign(size_t(MOST * lanes), T(0));
      for (int64_t i = 0; i < n; i++) {
        int64_t e = edge[size_t(i)];
        const T *v = of.vectors + 3 * e, *w = of.weights + e * K;
        const T* g = of.gates + (of.from_end ? of.senders : of.receivers)[e] * K;
        T r = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        x[i] = v[0] / r, y[i] = v[1] / r, z[i] = v[2] / r, length[i] = r, f[i] = of.envelope[e];
        for (int64_t k = 0; k < K; k++) gate[k * lanes + i] = g[k], weight[k * lanes + i] = w[k] * g[k];
      }
      for (int64_t i = 0; i < lanes; i += L) {
        Vec<T> found[MOST];
        harmonics<T>(int(of.degrees), load(&x[i]), load(&y[i]), load(&z[i]), found);
        for (int64_t m = 0; m < of.degrees * of.degrees; m++) store(&Y[m * lanes + i], found[m]);
      }
      moments.clear();
      each_moment([&](int64_t k, int64_t m, T) {
        Vec<T> sum = {};
        for (int64_t i = 0; i < lanes; i += L) sum += load(&weight[k * lanes + i]) * load(&Y[m * lanes + i]);
        moments.push_back(halo::sum(sum));
      });
    }

    // Calls do(k, m, factor) for the harmonics m of the degree of each radial function k.
    template <class Do>
    void each_moment(Do act) const {
      for (int64_t l = 0; l < of.degrees; l++)
        for (int64_t n = 0; n < of.count; n++)
          for (int64_t m = l * l; m < (l + 1) * (l + 1); m++)
            act(l * of.count + n, m, T(std::sqrt(4.0 * 3.14159265358979323846 / double(2 * l + 1))));
    }
  };

  template <class Do>
  void each_row(int threads, Do act) const {
    halo::for_rows(centres, threads, [&](int64_t first, int64_t last) {
      Row row(*this);
      const int64_t* at = std::lower_bound(receivers, receivers + edges, first);
      for (int64_t centre = first; centre < last; centre++) {
        const int64_t* end = std::upper_bound(at, receivers + edges, centre);
        row.read(at - receivers, end - receivers);
        act(row);
        at = end;
      }
    });
  }

  void forward(int threads, T* sums) const {
    std::fill_n(sums, edges * K(), T(0));
    each_row(threads, [&](const Row& row) {
      int64_t q = 0;
      row.each_moment([&](int64_t k, int64_t m, T factor) {
        T moment = row.moments[size_t(q++)];
        for (size_t i = 0; i < row.edge.size(); i++) {
          T Y = row.Y[m * row.lanes + i];
          sums[row.edge[i] * K() + k] += factor * row.f[i] * ((moment - row.weight[k * row.lanes + i] * Y) * Y);
        }
      });
    });
  }

  void backward(int threads, const T* by, T* by_vectors, T* by_weights, T* by_envelope, T* by_gate_of_edge) const {
    for (auto [to, width] : {std::pair{by_vectors, int64_t(3)}, {by_weights, K()}, {by_envelope, int64_t(1)},
                             {by_gate_of_edge, K()}})
      std::fill_n(to, edges * width, T(0));
    each_row(threads, [&](const Row& row) {
      const int64_t L = LANES<T>, lanes = row.lanes;
      std::vector<T> h(size_t(K() * lanes)), by_w(size_t(K() * lanes)), by_Y(size_t(MOST * lanes)), by_f(lanes);
      for (size_t i = 0; i < row.edge.size(); i++)
        for (int64_t k = 0; k < K(); k++) h[k * lanes + i] = by[row.edge[i] * K() + k];
      int64_t q = 0;
      row.each_moment([&](int64_t k, int64_t m, T factor) {
        T moment = row.moments[size_t(q++)];
        const T *Y = &row.Y[m * lanes], *w = &row.weight[k * lanes], *g = &h[k * lanes];
        Vec<T> sum = {};
        for (int64_t i = 0; i < lanes; i += L) sum += factor * load(g + i) * load(&row.f[i]) * load(Y + i);
        T by_moment = halo::sum(sum);
        for (int64_t i = 0; i < lanes; i += L) {
          Vec<T> y = load(Y + i), own = factor * load(g + i), all = own * load(&row.f[i]);
          Vec<T> others = moment - load(w + i) * y, by_term = by_moment - all * y;
          store(&by_f[i], load(&by_f[i]) + own * (others * y));
          store(&by_Y[m * lanes + i], load(&by_Y[m * lanes + i]) + all * others + by_term * load(w + i));
          store(&by_w[k * lanes + i], load(&by_w[k * lanes + i]) + by_term * y);
        }
      });
      for (int64_t i = 0; i < lanes; i += L) {
        Vec<T> pulled[MOST], to[3], x = load(&row.x[i]), y = load(&row.y[i]), z = load(&row.z[i]);
        for (int64_t m = 0; m < degrees * degrees; m++) pulled[m] = load(&by_Y[m * lanes + i]);
        pull_harmonics<T>(int(degrees), x, y, z, pulled, to);
        Vec<T> along = to[0] * x + to[1] * y + to[2] * z, length = load(&row.length[i]);
        Vec<T> across[3] = {(to[0] - along * x) / length, (to[1] - along * y) / length,
                            (to[2] - along * z) / length};
        for (int64_t j = 0; j < L && i + j < int64_t(row.edge.size()); j++)
          for (int axis = 0; axis < 3; axis++) by_vectors[3 * row.edge[size_t(i + j)] + axis] = across[axis][j];
      }
      for (size_t i = 0; i < row.edge.size(); i++) {
        int64_t e = row.edge[i];
        by_envelope[e] = by_f[i];
        for (int64_t k = 0; k < K(); k++) {
          by_weights[e * K() + k] = by_w[k * lanes + i] * row.gate[k * lanes + i];
          by_gate_of_edge[e * K() + k] = by_w[k * lanes + i] * weights[e * K() + k];
        }
      }
    });
  }
};

template <class T>
ThreeBody<T> given(const int64_t* sizes, void* const* t) {
  auto floats = [&](int which) { return static_cast<const T*>(t[which]); };
  auto index = [&](int which) { return static_cast<const int64_t*>(t[which]); };
  return {sizes[0],  sizes[1],  sizes[2],  sizes[3],  sizes[4] != 0,
          floats(0), floats(1), floats(2), floats(3), index(4), index(5)};
}

template <class T>
void forward(const int64_t* sizes, void* const* t, int64_t threads) {
  given<T>(sizes, t).forward(int(threads), static_cast<T*>(t[6]));
}

template <class T>
void backward(const int64_t* sizes, void* const* t, int64_t threads) {
  auto out = [&](int which) { return static_cast<T*>(t[which]); };
  ThreeBody<T> three = given<T>(sizes, t);
  three.backward(int(threads), static_cast<const T*>(t[6]), out(7), out(8), out(9), out(11));
  const int64_t* atoms = three.from_end ? three.senders : three.receivers;
  std::fill_n(out(10), sizes[5] * three.K(), T(0));
  for (int64_t e = 0; e < three.edges; e++)
    for (int64_t k = 0; k < three.K(); k++) out(10)[atoms[e] * three.K() + k] += out(11)[e * three.K() + k];
}

}  // namespace

extern "C" {
void three_body_forward_float(const int64_t* s, void* const* t, int64_t n) { forward<float>(s, t, n); }
void three_body_forward_double(const int64_t* s, void* const* t, int64_t n) { forward<double>(s, t, n); }
void three_body_backward_float(const int64_t* s, void* const* t, int64_t n) { backward<float>(s, t, n); }
void three_body_backward_double(const int64_t* s, void* const* t, int64_t n) { backward<double>(s, t, n); }
}
