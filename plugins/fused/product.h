// Channelwise products of features with harmonics, summed at receivers, and their gradients.
//
// Receivers are worked on in tiles. What channels share, the harmonics of each edge and the weights of its splines, is
// computed once for a tile, with edges in the lanes of vectors. Then channels are in the lanes: block after block of
// them, so that the table of a block stays in the cache, all receivers of the tile. Messages only exist in registers.
//
// Before this text stand T, V, LANES, the constants of the product, its harmonics and what is mixed of them; after it
// product_weights.h, the functions add_up and pull_row, of density.h or written for the couplings of a product, and
// product_calls.h.

// Channels that lie together in tables, whatever the width of vectors.
constexpr int PANEL = 16;
// Bytes of a tile, which is read once for every vector of channels: it should stay in the second cache beside the table
// of 16 channels. In reverse it is read by slices of several vectors, whose tables are larger than that anyway.
constexpr int64_t SUMMED = 64 * 1024, PULLED = 192 * 1024;
// Edges that several threads work on before they wait for each other.
constexpr int64_t SHARED = 32 * 1024;

// Edges sorted by receiver; those of one end where those of the next begin.
struct Edges {
  int64_t n_in, n_out, count;
  const T* vectors;
  const int64_t *senders, *starts;

  int64_t begin(int64_t i) const { return i < n_out ? starts[i] : count; }
  int64_t end(int64_t i) const { return begin(i + 1); }
};

// Weights of messages: cubic splines of the distance, or a tensor with a row for each edge or pair of edges.
struct Radial {
  const T* values;       // (panels, functions * knots, PATHS, 2, PANEL), or (R, PATHS * CHANNELS)
  T* gradients;          // of a tensor
  const int64_t* rows;   // (E,) of a tensor; null where there is one row for each edge
  const int64_t* kinds;  // (n_in,) of atoms, where anything differs by them; else null
  const int64_t* pairs;  // (species, species), the number of the function of two kinds; null if there is one
  int64_t species, functions, knots, count;  // count: R
  T start, per_length;
};

// Memory of a thread, which it keeps.
template <class E>
struct Buffer {
  std::unique_ptr<E[]> memory;
  size_t size = 0;

  E* get(size_t wanted) {
    if (wanted > size) memory.reset(new E[size = wanted]);
    return memory.get();
  }
};

template <bool WHOLE>
HALO_INLINE V read(const T* from, int channel) {
  return WHOLE ? halo::load(from) : halo::load_first(from, CHANNELS - channel);
}

template <bool WHOLE>
HALO_INLINE void write(T* to, V value, int channel) {
  if (WHOLE)
    halo::store(to, value);
  else
    halo::store_first(to, value, CHANNELS - channel);
}

template <bool WHOLE>
HALO_INLINE void add(T* to, V value, int channel) {
  write<WHOLE>(to, read<WHOLE>(to, channel) + value, channel);
}

// Components of harmonics that are added up together, in whole vectors.
constexpr int PADDED = (HARMONICS + LANES - 1) / LANES * LANES;
constexpr int STRIDE = PATHS * 2 * PANEL;

// Some receivers and their edges. Of each edge there are: its harmonics; in the pass forward also what is mixed of
// them; and what integrals of slopes and, in reverse, slopes take of three knots of splines.
template <bool FORWARD>
struct Tile {
  static constexpr int SPLINES = HARMONICS + (FORWARD ? MIXED : 0);
  static constexpr int QUANTITIES = SPLINES + (TABULATED ? (FORWARD ? 3 : 6) : 0);
  int64_t row, rows, first, last;  // receivers and edges
  T* quantities;                   // (edges / LANES, QUANTITIES, LANES)
  int64_t* cells;                  // (edges,) where their first knots are in a panel of the table
  int64_t* order;                  // (edges,) those of each receiver by the kind of their sender, if this matters
  uint8_t* again;                  // (edges,) whether an edge before shares the row of weights, if edges share any

  // Receivers from `row` on that have at most `most` edges together, but one of them whatever it has.
  Tile(const Edges& e, int64_t row, int64_t stop, int64_t most) : row(row), rows(row + 1), first(e.begin(row)) {
    while (rows < stop && e.end(rows) - first <= most) ++rows;
    last = e.begin(rows);
  }
  int64_t groups() const { return (last - first + LANES - 1) / LANES; }
  const T* at(int64_t edge) const {
    const size_t place = size_t(edge - first);
    return quantities + place / LANES * (QUANTITIES * LANES) + place % LANES;
  }
};

// Directions and lengths of LANES edges from `edge` on; the last one of the tile again where there are no more.
struct Directions {
  V x, y, z, length;

  Directions(const Edges& e, int64_t edge, int64_t last) {
    T v[3][LANES], r[LANES];
    for (int k = 0; k < LANES; ++k)
      for (int axis = 0; axis < 3; ++axis) v[axis][k] = e.vectors[3 * std::min(edge + k, last - 1) + axis];
    for (int k = 0; k < LANES; ++k) r[k] = std::sqrt(v[0][k] * v[0][k] + v[1][k] * v[1][k] + v[2][k] * v[2][k]);
    length = halo::load(r);
    x = halo::load(v[0]) / length, y = halo::load(v[1]) / length, z = halo::load(v[2]) / length;
  }
};

// What each length takes of its knots: a function is its value where the interval begins and the integral of its slope,
// which is a quadratic B-spline. From the end on functions are constant, as their last knots are; the distance that is
// not a number stays that.
template <bool SLOPES>
HALO_INLINE void splines(const Radial& r, V lengths, T* weights, int64_t* cells, int count) {
  const int64_t intervals = r.knots - 6;
  T place[LANES], t[LANES];
  int64_t cell[LANES];
  halo::store(place, (lengths - r.start) * r.per_length);
  for (int k = 0; k < LANES; ++k) {
    const bool inside = place[k] < T(intervals);
    cell[k] = inside ? int64_t(std::max(place[k], T(0))) : intervals + 3;
    t[k] = place[k] - (inside ? T(cell[k]) : place[k]);
  }
  for (int k = 0; k < count; ++k) cells[k] += cell[k] * STRIDE;
  const V a = halo::load(t), b = T(1) - a;
  halo::store(weights + 0 * LANES, a * (T(.5) + a * (a * T(1. / 6) - T(.5))));
  halo::store(weights + 1 * LANES, a * (T(.5) + a * (T(.5) - a * T(1. / 3))));
  halo::store(weights + 2 * LANES, a * a * a * T(1. / 6));
  if (SLOPES) {
    halo::store(weights + 3 * LANES, b * b * (T(.5) * r.per_length));
    halo::store(weights + 4 * LANES, (T(.5) + a * b) * r.per_length);
    halo::store(weights + 5 * LANES, a * a * (T(.5) * r.per_length));
  }
}

// Where the functions of edges begin, and their order, for receivers first to last of a tile.
template <bool FORWARD>
void sort_out(const Edges& e, const Radial& r, const Tile<FORWARD>& tile, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    const int64_t begin = e.begin(i), end = e.end(i);
    if (TABULATED)
      for (int64_t edge = begin; edge < end; ++edge)
        tile.cells[edge - tile.first] =
            r.pairs ? r.pairs[r.kinds[e.senders[edge]] * r.species + r.kinds[i]] * (r.knots * STRIDE) : 0;
    if (BY_KIND) {
      int64_t* to = tile.order + (begin - tile.first);
      for (int64_t kind = 0; kind < r.species; ++kind)
        for (int64_t edge = begin; edge < end; ++edge)
          if (r.species == 1 || r.kinds[e.senders[edge]] == kind) *to++ = edge;
    }
  }
}

// Which edges of a tile are not the first to write the gradient of their row, in the order in which they do.
inline void find_shared(const Radial& r, const Tile<false>& tile, uint8_t* seen) {
  for (int64_t place = 0; place < tile.last - tile.first; ++place) {
    const int64_t edge = BY_KIND ? tile.order[place] : tile.first + place;
    uint8_t& row = seen[r.rows[edge]];
    tile.again[edge - tile.first] = row;
    row = 1;
  }
}

// All quantities of groups first to last of a tile.
template <bool FORWARD>
void describe(const Edges& e, const Radial& r, const Tile<FORWARD>& tile, int64_t first, int64_t last) {
  for (int64_t group = first; group < last; ++group) {
    const int64_t edge = tile.first + group * LANES;
    T* to = tile.quantities + group * (Tile<FORWARD>::QUANTITIES * LANES);
    const Directions d(e, edge, tile.last);
    V found[HARMONICS + MIXED];
    found[0] = halo::broadcast(T(1));
    harmonics(d.x, d.y, d.z, found);
    if (FORWARD) mix(found, found + HARMONICS);
#pragma GCC unroll 256
    for (int k = 0; k < Tile<FORWARD>::SPLINES; ++k) halo::store(to + k * LANES, found[k]);
    if (TABULATED)
      splines<!FORWARD>(r, d.length, to + Tile<FORWARD>::SPLINES * LANES, tile.cells + group * LANES,
                        int(std::min<int64_t>(LANES, tile.last - edge)));
  }
}

// The gradient by vectors of groups first to last of a tile, from those by lengths and harmonics of slices of channels,
// (slices, edges, PADDED), which are added up in their order; it is added to what is there.
inline void pull_vectors(const Edges& e, const Tile<false>& tile, const T* slices, int count, T* by_vectors,
                         int64_t first, int64_t last) {
  const int64_t edges = tile.last - tile.first;
  for (int64_t group = first; group < last; ++group) {
    const int64_t edge = tile.first + group * LANES;
    const int here = int(std::min<int64_t>(LANES, tile.last - edge));
    T columns[PADDED][LANES] = {};
    for (int k = 0; k < here; ++k)
      for (int part = 0; part < PADDED; part += LANES) {
        const T* from = slices + (edge - tile.first + k) * PADDED + part;
        V sum = halo::load(from);
        for (int slice = 1; slice < count; ++slice) sum += halo::load(from + slice * edges * PADDED);
        for (int m = 0; m < LANES; ++m) columns[part + m][k] = sum[m];
      }
    V by_harmonics[HARMONICS], t[3];
    for (int m = 0; m < HARMONICS; ++m) by_harmonics[m] = halo::load(columns[m]);
    const Directions d(e, edge, tile.last);
    pull_harmonics(d.x, d.y, d.z, by_harmonics, t);
    const V along = by_harmonics[0] - (t[0] * d.x + t[1] * d.y + t[2] * d.z) / d.length;
    const V found[3] = {t[0] / d.length + along * d.x, t[1] / d.length + along * d.y, t[2] / d.length + along * d.z};
    for (int k = 0; k < here; ++k)
      for (int axis = 0; axis < 3; ++axis) by_vectors[3 * (edge + k) + axis] += found[axis][k];
  }
}
