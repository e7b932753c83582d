// Both passes over all edges, as they are called.

// Vectors of channels, the last of which may be a part of one; slices of WIDTH of them, then those that are left over.
constexpr int WHOLE_VECTORS = CHANNELS / LANES;
constexpr int WIDE_SLICES = WHOLE_VECTORS / WIDTH, NARROW_SLICES = WHOLE_VECTORS % WIDTH;
constexpr bool REMAINDER = CHANNELS % LANES != 0;
constexpr int SLICES = WIDE_SLICES + NARROW_SLICES + REMAINDER;

extern "C" void product_sums(const Edges* e, const Radial* r, const T* x, T* sums, int threads) {
  using Forward = Tile<true>;
  const Weights weights{*r};
  halo::for_rows(e->n_out, threads, [&](int64_t begin, int64_t end) {
    static thread_local Buffer<T> quantities;
    static thread_local Buffer<int64_t> cells, order;
    for (int64_t row = begin; row < end;) {
      Forward tile(*e, row, end, SUMMED / (Forward::QUANTITIES * sizeof(T)));
      tile.quantities = quantities.get(tile.groups() * Forward::QUANTITIES * LANES);
      tile.cells = cells.get(tile.groups() * LANES);
      tile.order = BY_KIND ? order.get(tile.groups() * LANES) : nullptr;
      sort_out(*e, *r, tile, row, tile.rows);
      describe(*e, *r, tile, 0, tile.groups());
      for (int c = 0; c < WHOLE_VECTORS * LANES; c += LANES)
        for (int64_t i = row; i < tile.rows; ++i) add_up<true>(*e, tile, weights, x, sums, i, c);
      if constexpr (REMAINDER)
        for (int64_t i = row; i < tile.rows; ++i)
          add_up<false>(*e, tile, weights, x, sums, i, WHOLE_VECTORS * LANES);
      row = tile.rows;
    }
  });
}

// One slice of channels, for receivers first to last of a tile.
inline void pull_slice(const Edges& e, const Tile<false>& tile, const Weights& weights, const T* x, const T* pull,
                       T* by_x, T* slices, int slice, int64_t first, int64_t last) {
  T* to = slices + slice * (tile.last - tile.first) * PADDED;
  for (int64_t i = first; i < last; ++i) {
    if (slice < WIDE_SLICES)
      pull_row<WIDTH, true>(e, tile, weights, x, pull, by_x, to, i, slice * WIDTH * LANES);
    if constexpr (NARROW_SLICES > 0)
      if (slice >= WIDE_SLICES && slice < WIDE_SLICES + NARROW_SLICES)
        pull_row<1, true>(e, tile, weights, x, pull, by_x, to, i, (WIDE_SLICES * (WIDTH - 1) + slice) * LANES);
    if constexpr (REMAINDER)
      if (slice == SLICES - 1)
        pull_row<1, false>(e, tile, weights, x, pull, by_x, to, i, WHOLE_VECTORS * LANES);
  }
}

// by_x is zero at first. Threads own slices of channels, since rows of by_x belong to senders, and those of weights may
// belong to several edges; where gradients are of edges alone, they own receivers.
extern "C" void product_pull(const Edges* e, const Radial* r, const T* x, const T* pull, T* by_x, T* by_vectors,
                             int threads) {
  using Reverse = Tile<false>;
  const Weights weights{*r};
  static thread_local Buffer<T> quantities, slices;
  static thread_local Buffer<int64_t> cells, order;
  static thread_local Buffer<uint8_t> again, rows;
  uint8_t* seen = r->rows ? rows.get(r->count) : nullptr;
  if (seen) std::fill(seen, seen + r->count, 0);
  const int64_t own = PULLED / ((Reverse::QUANTITIES + SLICES * PADDED) * sizeof(T));
  for (int64_t row = 0; row < e->n_out;) {
    Reverse tile(*e, row, e->n_out, threads > 1 ? SHARED : own);
    tile.quantities = quantities.get(tile.groups() * Reverse::QUANTITIES * LANES);
    tile.cells = cells.get(tile.groups() * LANES);
    tile.order = BY_KIND ? order.get(tile.groups() * LANES) : nullptr;
    T* found = slices.get((tile.last - tile.first) * SLICES * PADDED);
    halo::for_rows(tile.rows - row, threads, [&](int64_t first, int64_t last) {
      sort_out(*e, *r, tile, row + first, row + last);
    });
    if (seen) {
      tile.again = again.get(tile.groups() * LANES);
      find_shared(*r, tile, seen);
    }
    halo::for_rows(tile.groups(), threads,
                   [&](int64_t first, int64_t last) { describe(*e, *r, tile, first, last); });
    if (TABULATED && BY_KIND)
      halo::for_rows(tile.rows - row, threads, [&](int64_t first, int64_t last) {
        for (int slice = 0; slice < SLICES; ++slice)
          pull_slice(*e, tile, weights, x, pull, by_x, found, slice, row + first, row + last);
      });
    else
      halo::for_rows(SLICES, threads, [&](int64_t first, int64_t last) {
        for (int64_t slice = first; slice < last; ++slice)
          pull_slice(*e, tile, weights, x, pull, by_x, found, int(slice), row, tile.rows);
      });
    halo::for_rows(tile.groups(), threads, [&](int64_t first, int64_t last) {
      pull_vectors(*e, tile, found, SLICES, by_vectors, first, last);
    });
    row = tile.rows;
  }
  if (seen)  // rows of no edge
    for (int64_t k = 0; k < r->count; ++k)
      if (!seen[k]) std::fill_n(r->gradients + k * PATHS * CHANNELS, PATHS * CHANNELS, T(0));
}
