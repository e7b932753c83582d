// What a step of dynamics does to every candidate and every edge, in one pass each.
//
// Compiled with -ffp-contract=off: operations and their order are those of the code by NumPy beside which each of
// these stands, and so is every bit of a result. Arrays are C-contiguous; indices are within their arrays.

#include <cstddef>
#include <cstdint>

extern "C" {

// The square of the farthest way that an atom has moved.
double farthest(int64_t atoms, const double* now, const double* then) {
  double most = 0.0;
  for (int64_t i = 0; i < 3 * atoms; i += 3) {
    const double x = now[i] - then[i], y = now[i + 1] - then[i + 1], z = now[i + 2] - then[i + 2];
    const double square = x * x + y * y + z * z;
    if (!(square <= most)) most = square;  // what is no number is far
  }
  return most;
}

// Vectors and squared lengths of the candidates that are nearer than the cutoff, one after another, and which they
// are. There is room for all candidates and one more. Returns how many are.
//
// offsets: (C, 3), what the cell adds, or null; then terms add (C,) each to one component.
int64_t cut(int64_t candidates, const int64_t* receivers, const int64_t* senders, const double* positions,
            const double* offsets, int64_t terms, const int64_t* components, const double* const* values,
            double square_of_cutoff, uint8_t* inside, double* vectors, double* squares) {
  int64_t edges = 0;
  for (int64_t c = 0; c < candidates; c++) {
    const double *to = positions + 3 * senders[c], *from = positions + 3 * receivers[c];
    double v[3] = {to[0] - from[0], to[1] - from[1], to[2] - from[2]};
    if (offsets != nullptr)
      for (int k = 0; k < 3; k++) v[k] += offsets[3 * c + k];
    for (int64_t term = 0; term < terms; term++) v[components[term]] += values[term][c];
    const double square = (v[0] * v[0] + v[2] * v[2]) + v[1] * v[1];
    for (int k = 0; k < 3; k++) vectors[3 * edges + k] = v[k];  // overwritten by the next, if this is none
    squares[edges] = square;
    const bool is_edge = square < square_of_cutoff;
    inside[c] = is_edge;
    edges += is_edge;
  }
  return edges;
}

// The candidates that are inside, as edges, and the place of each one's partner among the edges.
//
// before: room for how many edges there are before each candidate. Without partners, both arrays of them are null.
void keep(int64_t candidates, const uint8_t* inside, const int64_t* receivers, const int64_t* senders,
          const int64_t* shifts, const int64_t* partners, int64_t* before, int64_t* kept_receivers,
          int64_t* kept_senders, int64_t* kept_shifts, int64_t* kept_partners) {
  int64_t edges = 0;
  for (int64_t c = 0; c < candidates; c++) {
    before[c] = edges;
    edges += inside[c];
  }
  for (int64_t c = 0; c < candidates; c++) {
    if (!inside[c]) continue;
    const int64_t edge = before[c];
    kept_receivers[edge] = receivers[c];
    kept_senders[edge] = senders[c];
    for (int k = 0; k < 3; k++) kept_shifts[3 * edge + k] = shifts[3 * c + k];
    if (partners != nullptr) kept_partners[edge] = before[partners[c]];
  }
}

// The first edge of each pair, the pair of each edge, and its opposite. An edge that is its own partner is a pair, and has
// its opposite elsewhere, behind the last edge. Returns how many pairs there are.
int64_t pairs(int64_t edges, const int64_t* partners, int64_t* first, int64_t* pair_of, int64_t* opposite) {
  int64_t count = 0;
  for (int64_t edge = 0; edge < edges; edge++) {
    const int64_t partner = partners[edge];
    opposite[edge] = partner == edge ? edges : partner;
    if (partner < edge) {
      pair_of[edge] = pair_of[partner];
    } else {
      first[count] = edge;
      pair_of[edge] = count++;
    }
  }
  return count;
}

}  // extern "C"

namespace {

template <class T>
void pull(int64_t edges, int64_t atoms, const T* gradients, const double* vectors, const int64_t* receivers,
          const int64_t* senders, double* forces, double* virial) {
  double product[9] = {};
  for (int64_t i = 0; i < 3 * atoms; i++) forces[i] = 0.0;
  for (int64_t edge = 0; edge < edges; edge++)
    for (int j = 0; j < 3; j++) {
      const double gradient = double(gradients[3 * edge + j]);
      forces[3 * receivers[edge] + j] += gradient;
      for (int i = 0; i < 3; i++) product[3 * i + j] += vectors[3 * edge + i] * gradient;
    }
  for (int64_t edge = 0; edge < edges; edge++)
    for (int j = 0; j < 3; j++) forces[3 * senders[edge] + j] -= double(gradients[3 * edge + j]);
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) virial[3 * i + j] = 0.5 * (product[3 * i + j] + product[3 * j + i]);
}

}  // namespace

extern "C" {

// Forces: all receivers are pulled first, then all senders. The virial: edge by edge.
void pull_float32(int64_t edges, int64_t atoms, const float* gradients, const double* vectors,
                  const int64_t* receivers, const int64_t* senders, double* forces, double* virial) {
  pull(edges, atoms, gradients, vectors, receivers, senders, forces, virial);
}

void pull_float64(int64_t edges, int64_t atoms, const double* gradients, const double* vectors,
                  const int64_t* receivers, const int64_t* senders, double* forces, double* virial) {
  pull(edges, atoms, gradients, vectors, receivers, senders, forces, virial);
}

// Whether pieces of memory hold the same bytes.
int same_bytes(int64_t count, const void* const* some, const void* const* others, const int64_t* sizes) {
  for (int64_t i = 0; i < count; i++)
    if (__builtin_memcmp(some[i], others[i], size_t(sizes[i])) != 0) return 0;
  return 1;
}

}  // extern "C"
