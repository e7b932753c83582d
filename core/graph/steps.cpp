// What a step of dynamics does to every candidate and every edge, in one pass each.
//
// Compiled with -ffp-contract=off: operations and their order are those of the code by NumPy beside which each of
// these stands, and so is every bit of a result. Arrays are C-contiguous; indices are within their arrays.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

// Candidates: which atoms they connect, and what the cell adds to their vectors.
struct Candidates {
  const int64_t *receivers, *senders;
  const double* offsets;  // (C, 3), or null; then terms add (C,) each to one component
  int64_t terms;
  const int64_t* components;
  const double* const* values;
};

// The vector of one of them, and its square.
inline double measured(const Candidates& given, int64_t c, const double* positions, double* v) {
  const double *to = positions + 3 * given.senders[c], *from = positions + 3 * given.receivers[c];
  for (int k = 0; k < 3; k++) v[k] = to[k] - from[k];
  if (given.offsets != nullptr)
    for (int k = 0; k < 3; k++) v[k] += given.offsets[3 * c + k];
  for (int64_t term = 0; term < given.terms; term++) v[given.components[term]] += given.values[term][c];
  return (v[0] * v[0] + v[2] * v[2]) + v[1] * v[1];
}

}  // namespace

extern "C" {

// The square of the farthest way that an atom has moved.
double farthest(int64_t atoms, const double* now, const double* then) {
  double most = 0.0;
  for (int64_t i = 0; i < 3 * atoms; i += 3) {
    const double x = now[i] - then[i], y = now[i + 1] - then[i + 1], z = now[i + 2] - then[i + 2];
    const double square = x * x + y * y + z * z;
    if (!(square <= most)) most = square;
    if (most != most) break;  // what is no number is farthest
  }
  return most;
}

// Vectors and squared lengths of the candidates that are nearer than the cutoff, one after another, and which they
// are. There is room for all candidates and one more. Returns how many are.
int64_t cut(int64_t candidates, const Candidates* given, const double* positions, double square_of_cutoff,
            uint8_t* inside, double* vectors, double* squares) {
  int64_t edges = 0;
  for (int64_t c = 0; c < candidates; c++) {
    // Overwritten by the next, if this is none.
    const double square = squares[edges] = measured(*given, c, positions, vectors + 3 * edges);
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

// The first edge of each pair, the pair of each edge, and its opposite. An edge that is its own partner is a pair, and
// has its opposite elsewhere, behind the last edge. Returns how many pairs there are.
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

// What stays from step to step while the same candidates are, and the edges of the last step.
struct Prepared {
  int64_t atoms, candidates, rows;
  const double* searched;   // (N, 3), where the atoms were when candidates were searched
  double room;              // how far two atoms may have moved together since
  Candidates given;
  const int64_t* partners;  // (C,), the opposite of each; or null, if other candidates must not become edges
  double square_of_cutoff, square_of_suspect;
  float* narrow;            // (C, 3), where the program reads vectors; one of the two is null
  double* wide;
  int64_t edges, pairs;
  const uint8_t* inside;               // (C,), which candidates are edges
  const int64_t *receivers, *senders;  // (E,)
};

// How the edges are those of the last step.
enum { UNSURE = 0, SAME = 1, OTHERS = 2 };

// Vectors and squares of the edges, as `cut` gives them, and the vectors once more for the program. If other candidates
// are edges than before, these are prepared now, and the program is told of them as `lay_out` tells it.
//
// It is unsure, and nothing has changed, where an edge could have been missed, or one is so short that it has to be
// looked at. There is room for all candidates and one more.
//
// numbers: room for one of each candidate six times: edges before it, and of edges receivers, senders, firsts of
// pairs, pairs, opposites; and for one of each row, its first edge.
int follow(Prepared* prepared, const double* positions, double* vectors, double* squares, uint8_t* inside,
           int64_t* numbers) {
  Prepared& p = *prepared;
  if (!(2.0 * std::sqrt(farthest(p.atoms, positions, p.searched)) <= p.room)) return UNSURE;
  int64_t* before = numbers;
  int64_t edges = 0;
  bool same = true;
  for (int64_t c = 0; c < p.candidates; c++) {
    const double square = squares[edges] = measured(p.given, c, positions, vectors + 3 * edges);
    if (square < p.square_of_suspect) return UNSURE;
    const bool is_edge = square < p.square_of_cutoff;
    inside[c] = is_edge;
    before[c] = edges;
    same &= is_edge == bool(p.inside[c]);
    edges += is_edge;
  }
  if (!same && p.partners == nullptr) return UNSURE;
  if (p.narrow != nullptr)
    for (int64_t i = 0; i < 3 * edges; i++) p.narrow[i] = float(vectors[i]);
  else
    std::memcpy(p.wide, vectors, size_t(3 * edges) * sizeof(double));
  if (same) return SAME;
  int64_t *receivers = before + p.candidates, *senders = receivers + p.candidates, *first = senders + p.candidates;
  int64_t *pair_of = first + p.candidates, *opposite = pair_of + p.candidates, *starts = opposite + p.candidates;
  int64_t row = 0;
  for (int64_t c = 0; c < p.candidates; c++) {
    if (!inside[c]) continue;
    const int64_t edge = before[c], receiver = p.given.receivers[c];
    while (row < p.rows && row <= receiver) starts[row++] = edge;
    receivers[edge] = receiver;
    senders[edge] = p.given.senders[c];
    opposite[edge] = before[p.partners[c]];
  }
  while (row < p.rows) starts[row++] = edges;
  p.edges = edges;
  p.pairs = pairs(edges, opposite, first, pair_of, opposite);
  p.inside = inside, p.receivers = receivers, p.senders = senders;
  return OTHERS;
}

}  // extern "C"

namespace {

template <class T>
void sums(const Prepared& p, const T* gradients, const T* energies, const double* vectors, double* found) {
  double* virial = found + 3 * p.atoms;
  pull(p.edges, p.atoms, gradients, vectors, p.receivers, p.senders, found, virial);
  for (int64_t i = 0; i < p.atoms; i++) virial[9 + i] = double(energies[i]);
}

}  // namespace

extern "C" {

// Forces (N, 3), virial (3, 3) and energies (N,), one after another, in float64.
void sums_float32(const Prepared* prepared, const float* gradients, const float* energies, const double* vectors,
                  double* found) {
  sums(*prepared, gradients, energies, vectors, found);
}

void sums_float64(const Prepared* prepared, const double* gradients, const double* energies, const double* vectors,
                  double* found) {
  sums(*prepared, gradients, energies, vectors, found);
}

}  // extern "C"

namespace {

// Of every 32nd word of eight bytes each one follows from the words before it, in a way that can be undone: no change
// of one of them is missed, and one of several with a probability of 2^-64.
struct Digest {
  static constexpr int lanes = 32, block = 8 * lanes;
  uint64_t state[lanes] = {};

  void take(const unsigned char* bytes) {
    uint64_t words[lanes];
    std::memcpy(words, bytes, block);
    for (int lane = 0; lane < lanes; lane++) {
      const uint64_t mixed = state[lane] ^ words[lane];
      state[lane] = (mixed << 29 | mixed >> 35) * 0x9E3779B97F4A7C15u;
    }
  }
};

}  // namespace

extern "C" {

// A digest of pieces of memory, of 256 bytes.
void digest(int64_t count, const unsigned char* const* pieces, const int64_t* sizes, void* found) {
  Digest digest;
  for (int64_t i = 0; i < count; i++) {
    int64_t done = 0;
    for (; done + Digest::block <= sizes[i]; done += Digest::block) digest.take(pieces[i] + done);
    if (done == sizes[i]) continue;
    unsigned char rest[Digest::block] = {};
    std::memcpy(rest, pieces[i] + done, size_t(sizes[i] - done));
    digest.take(rest);
  }
  std::memcpy(found, digest.state, Digest::block);
}

// Whether pieces of memory have that digest.
int same_digest(int64_t count, const unsigned char* const* pieces, const int64_t* sizes, const void* digest_before) {
  unsigned char found[Digest::block];
  digest(count, pieces, sizes, found);
  return std::memcmp(found, digest_before, Digest::block) == 0;
}

// Whether dictionaries of Python hold the very keys and values that they held, in their order; a value that was null
// may be any. `next` is PyDict_Next.
int same_objects(int (*next)(void*, ptrdiff_t*, void**, void**), int64_t count, void* const* dictionaries,
                 const int64_t* sizes, void* const* keys, void* const* values) {
  int64_t place = 0;
  for (int64_t i = 0; i < count; i++) {
    ptrdiff_t at = 0;
    void *key, *value;
    for (const int64_t end = place + sizes[i]; place < end; place++) {
      if (!next(dictionaries[i], &at, &key, &value) || key != keys[place]) return 0;
      if (values[place] != nullptr && value != values[place]) return 0;
    }
    if (next(dictionaries[i], &at, &key, &value)) return 0;
  }
  return 1;
}

}  // extern "C"
