// Functions of the distance times harmonics, summed at receivers for each kind of sender, and their gradients: what
// product_calls.h calls where there are no features. Sums are (HARMONICS, n_out, species, CHANNELS).

// Harmonics whose sums stay in registers, of which there are 16 or 32.
#if defined(__AVX__) && !defined(__AVX512F__)
constexpr int TOGETHER = 9;
#else
constexpr int TOGETHER = 16;
#endif

// Edges of a tile in the order of their kinds: those of one kind, from place first on, end where last_of says.
inline int64_t kind_at(const Edges& e, const Radial& r, const int64_t* order, int64_t place) {
  return r.species == 1 ? 0 : r.kinds[e.senders[order[place]]];
}

inline int64_t last_of(const Edges& e, const Radial& r, const int64_t* order, int64_t first, int64_t end) {
  const int64_t kind = kind_at(e, r, order, first);
  if (r.species == 1) return end;
  while (first < end && kind_at(e, r, order, first) == kind) ++first;
  return first;
}

// Harmonics from FIRST on, over places first to last.
template <int FIRST, bool WHOLE, class Block>
HALO_INLINE void add_up_harmonics(const Tile<true>& tile, const Block& block, const int64_t* order, int64_t first,
                                  int64_t last, T* to, int64_t stride, int c) {
  constexpr int COUNT = HARMONICS - FIRST < TOGETHER ? HARMONICS - FIRST : TOGETHER;
  V sums[COUNT] = {};
  for (int64_t place = first; place < last; ++place) {
    const T* q = tile.at(order[place]);
    const V w = block.at(tile, order[place])(0);
#pragma GCC unroll 16
    for (int m = 0; m < COUNT; ++m) sums[m] += w * q[(FIRST + m) * LANES];
  }
#pragma GCC unroll 16
  for (int m = 0; m < COUNT; ++m) write<WHOLE>(to + (FIRST + m) * stride, sums[m], c);
  if constexpr (FIRST + COUNT < HARMONICS)
    add_up_harmonics<FIRST + COUNT, WHOLE>(tile, block, order, first, last, to, stride, c);
}

template <bool WHOLE, class Weights>
void add_up(const Edges& e, const Tile<true>& tile, const Weights& weights, const T*, T* sums, int64_t i, int c) {
  const Radial& r = weights.r;
  const auto block = weights.template block<WHOLE>(c);
  const int64_t end = e.end(i) - tile.first, stride = e.n_out * r.species * CHANNELS;
  T* row = sums + i * r.species * CHANNELS + c;
  for (int64_t kind = 0; kind < r.species; ++kind)
    for (int m = 0; m < HARMONICS; ++m) write<WHOLE>(row + m * stride + kind * CHANNELS, V{}, c);
  for (int64_t first = e.begin(i) - tile.first; first < end;) {
    const int64_t last = last_of(e, r, tile.order, first, end);
    T* to = row + kind_at(e, r, tile.order, first) * CHANNELS;
    add_up_harmonics<0, WHOLE>(tile, block, tile.order, first, last, to, stride, c);
    first = last;
  }
}

template <int WIDTH, bool WHOLE, class Weights>
void pull_row(const Edges& e, const Tile<false>& tile, const Weights& weights, const T*, const T* pull, T*,
              T* by_harmonics, int64_t i, int c) {
  const Radial& r = weights.r;
  using Block = decltype(weights.template block<WHOLE>(c));
  Block blocks[WIDTH];
  for (int part = 0; part < WIDTH; ++part) blocks[part] = weights.template block<WHOLE>(c + part * LANES);
  const int64_t end = e.end(i) - tile.first, stride = e.n_out * r.species * CHANNELS;
  for (int64_t first = e.begin(i) - tile.first; first < end;) {
    const int64_t last = last_of(e, r, tile.order, first, end);
    const T* from = pull + (i * r.species + kind_at(e, r, tile.order, first)) * CHANNELS + c;
    V gradient[WIDTH][HARMONICS];
    for (int part = 0; part < WIDTH; ++part)
      for (int m = 0; m < HARMONICS; ++m)
        gradient[part][m] = read<WHOLE>(from + m * stride + part * LANES, c + part * LANES);
    for (; first < last; ++first) {
      const int64_t edge = tile.order[first];
      const T* q = tile.at(edge);
      V sums[PADDED] = {};
      for (int part = 0; part < WIDTH; ++part) {
        const V* g = gradient[part];
        const auto weight = blocks[part].pulls(tile, edge)(0);
        V along = g[0];
#pragma GCC unroll 16
        for (int m = 1; m < HARMONICS; ++m) {
          along += g[m] * q[m * LANES];
          sums[m] += g[m] * weight.value;
        }
        weight.pull(along, sums[0]);
      }
      store_sums(sums, by_harmonics + (edge - tile.first) * PADDED);
    }
  }
}
