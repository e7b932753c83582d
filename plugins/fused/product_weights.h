// Weights of messages, on an edge and for a vector of channels, and their part of the gradient.

HALO_INLINE void store_sums(const V* sums, T* to) {
#pragma GCC unroll 16
  for (int part = 0; part < PADDED; part += LANES) halo::store(to + part, halo::sums(sums + part));
}

// From a table.
struct Splines {
  const Radial& r;

  // Of the paths of an edge.
  struct Values {
    const T* from;
    V h0, h1, h2;
    HALO_INLINE V operator()(int path) const {
      const T *value = from + path * 2 * PANEL, *slopes = value + PANEL;
      return halo::load(value) + h0 * halo::load(slopes) + h1 * halo::load(slopes + STRIDE) +
             h2 * halo::load(slopes + 2 * STRIDE);
    }
  };

  // A weight and its derivative by the length.
  struct Weight {
    V value, slope;
    HALO_INLINE void pull(V sum, V& by_length) const { by_length += slope * sum; }
  };
  struct Slopes {
    const T *from, *q;
    HALO_INLINE Weight operator()(int path) const {
      const T *value = from + path * 2 * PANEL, *slopes = value + PANEL;
      const V s0 = halo::load(slopes), s1 = halo::load(slopes + STRIDE), s2 = halo::load(slopes + 2 * STRIDE);
      return {halo::load(value) + q[0] * s0 + q[LANES] * s1 + q[2 * LANES] * s2,
              q[3 * LANES] * s0 + q[4 * LANES] * s1 + q[5 * LANES] * s2};
    }
  };

  // Of a vector of channels.
  struct Block {
    const T* panel;
    HALO_INLINE Values at(const Tile<true>& tile, int64_t edge) const {
      const T* q = tile.at(edge) + Tile<true>::SPLINES * LANES;
      return {panel + tile.cells[edge - tile.first], halo::broadcast(q[0]), halo::broadcast(q[LANES]),
              halo::broadcast(q[2 * LANES])};
    }
    HALO_INLINE Slopes pulls(const Tile<false>& tile, int64_t edge) const {
      return {panel + tile.cells[edge - tile.first], tile.at(edge) + Tile<false>::SPLINES * LANES};
    }
  };
  template <bool WHOLE>
  HALO_INLINE Block block(int channel) const {
    return {r.values + channel / PANEL * (r.functions * r.knots * STRIDE) + channel % PANEL};
  }
};

// From a tensor.
struct Given {
  const Radial& r;

  template <bool WHOLE>
  struct Values {
    const T* from;
    int channel;
    HALO_INLINE V operator()(int path) const { return read<WHOLE>(from + path * CHANNELS, channel); }
  };

  // A weight, and where its gradient goes.
  template <bool WHOLE>
  struct Weight {
    V value;
    T* to;
    bool shared;
    int channel;
    HALO_INLINE void pull(V sum, V&) const {
      if (shared)
        add<WHOLE>(to, sum, channel);
      else
        write<WHOLE>(to, sum, channel);
    }
  };
  template <bool WHOLE>
  struct Pulls {
    const T* from;
    T* to;
    bool shared;
    int channel;
    HALO_INLINE Weight<WHOLE> operator()(int path) const {
      return {read<WHOLE>(from + path * CHANNELS, channel), to + path * CHANNELS, shared, channel};
    }
  };

  template <bool WHOLE>
  struct Block {
    const T* values;
    T* gradients;
    const int64_t* rows;
    int channel;
    int64_t place(int64_t edge) const { return (rows ? rows[edge] : edge) * (PATHS * CHANNELS) + channel; }
    HALO_INLINE Values<WHOLE> at(const Tile<true>&, int64_t edge) const { return {values + place(edge), channel}; }
    HALO_INLINE Pulls<WHOLE> pulls(const Tile<false>& tile, int64_t edge) const {
      const int64_t here = place(edge);
      return {values + here, gradients + here, rows && tile.again[edge - tile.first], channel};
    }
  };
  template <bool WHOLE>
  HALO_INLINE Block<WHOLE> block(int channel) const {
    return {r.values, r.gradients, r.rows, channel};
  }
};

using Weights = std::conditional_t<TABULATED, Splines, Given>;
