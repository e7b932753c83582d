// The edge half of a block of M3GNet, and its derivative; gates.py says what is computed, and how weights are packed.
//
// Edges go through all of it in pieces that stay in the cache. The derivative needs slopes of activations and nothing
// else, as weights are constants: those are kept, so that no exponential is taken twice and no product made again.
#include "gates.h"
#include "rows.h"

namespace {

constexpr int64_t ROUND = 8;  // pieces of each thread between two sums over edges

// ---- Forward -----------------------------------------------------------------------------------------------------

template <class T>
struct Forward {
  Sizes s;
  Weights<T> weights;
  const T *edges, *sums, *basis, *shares;
  const int64_t *senders, *receivers;
  T *updated, *totals, *kept;  // kept is null if nothing is

  static int64_t room(const Sizes& s) { return PIECE * (6 * s.C() + 2 * widest(s) + s.kept()); }
  static int64_t widest(const Sizes& s) { return std::max({2 * s.U(), s.K(), s.B()}); }

  // Messages (PIECE, C) of one piece, and the updated edges.
  void piece(int64_t number, T* messages) const {
    Piece p(number, s, senders, receivers);
    int64_t C = s.C(), n = p.filled;
    T* e = scratch<T>(room(s));
    T *factors = e + PIECE * C, *gate = factors + PIECE * 2 * C, *a = gate + PIECE * C, *b = a + PIECE * widest(s);
    T* keep = kept ? kept + p.first * s.kept() : b + PIECE * widest(s);

    // Three-body terms update edges.
    auto zero = [](int64_t, int64_t) { return Vec<T>{}; };
    T *value_slope = keep, *gate_slope = keep + n * C;
    const T* own_sums = padded(sums, s.sums, p, a);
    product<T, WIDE>(own_sums, s.sums, weights.three, s.sums, C, n, zero,
                     [=](int64_t row, int64_t column, Vec<T> z) { store(gate + row * C + column, z); });
    product<T, WIDE>(own_sums, s.sums, weights.three + s.sums * C, s.sums, C, n, zero,
                     [=, &p](int64_t row, int64_t column, Vec<T> z) {
                       Swish<T> value(load(gate + row * C + column));
                       Vec<T> sigma = sigmoid<T>(z), product = value.value * sigma;
                       store(value_slope + in_panels(row, column, n), value.slope * sigma);
                       store(gate_slope + in_panels(row, column, n), product * (T(1) - sigma));
                       Vec<T> old = read(edges + p.edge(row) * s.channels, column, s.channels);
                       store(e + row * C + column, old + product);
                     });
    keep += n * 2 * C;

    product<T, WIDE>(padded(basis, s.basis, p, a), s.basis, weights.weight, s.basis, 2 * C, n, zero,
                     [=](int64_t row, int64_t column, Vec<T> z) {
                       bool swish = s.swish && column >= C;
                       store(factors + row * 2 * C + column, swish ? z * sigmoid<T>(z) : z);
                     });
    network(p, 0, e, gate, a, b, keep, [=](int64_t row, int64_t column, Vec<T> out) {
      T* to = e + row * C + column;
      store(to, load(to) + out * load(factors + row * 2 * C + column));
    });
    keep += n * s.kept_of_network();
    for (int64_t row = 0; row < p.rows; row++)
      for (int64_t column = 0; column < s.channels; column += LANES<T>)
        write(updated + (p.first + row) * s.channels, column, s.channels, load(e + row * C + column));
    network(p, 1, e, gate, a, b, keep, [=](int64_t row, int64_t column, Vec<T> out) {
      store(messages + row * C + column, out * load(factors + row * 2 * C + C + column));
    });
  }

  // Rows (E, width) of a piece; the last ones are copied to `room` if there are too few for a tile.
  const T* padded(const T* rows, int64_t width, const Piece& p, T* room) const {
    if (p.rows == p.filled) return rows + p.first * width;
    for (int64_t row = 0; row < p.filled; row++)
      std::copy_n(rows + p.edge(row) * width, width, room + row * width);
    return room;
  }

  template <class End>
  void network(const Piece& p, int which, const T* e, T* gate, T* a, T* b, T* keep, End end) const {
    const Network<T>& net = weights.networks[which];
    int64_t C = s.C(), U = s.U(), n = p.filled;
    const T *centre = shares + which * 2 * U, *outer = shares + (2 + which) * 2 * U;
    auto activate = [=](T* to, T* slopes) {
      return [=](int64_t row, int64_t column, Vec<T> z) {
        Swish<T> swish(z);
        store(to + row * 2 * U + column, swish.value);
        store(slopes + in_panels(row, column, n), swish.slope);
      };
    };
    product<T, WIDE>(e, C, net.first, C, 2 * U, n,
                     [=, &p](int64_t row, int64_t column) {
                       __builtin_prefetch(outer + p.sender[row + TILE] * 8 * U + column);
                       return load(centre + p.receiver[row] * 8 * U + column) +
                              load(outer + p.sender[row] * 8 * U + column);
                     },
                     activate(a, keep));
    keep += n * 2 * U;
    if (s.hidden) {
      for (int64_t half = 0; half < 2; half++) {
        const T* offset = net.hidden_offset + half * U;
        product<T, WIDE>(a + half * U, 2 * U, net.hidden[half], U, U, n,
                         [=](int64_t, int64_t column) { return load(offset + column); },
                         activate(b + half * U, keep + half * n * U));
      }
      std::swap(a, b);
      keep += n * 2 * U;
    }
    const T* offset = net.last_offset;
    product<T, WIDE>(a, 2 * U, net.last[0], U, C, n, [=](int64_t, int64_t column) { return load(offset + column); },
                     [=](int64_t row, int64_t column, Vec<T> z) { store(gate + row * C + column, z); });
    product<T, WIDE>(a + U, 2 * U, net.last[1], U, C, n,
                     [=](int64_t, int64_t column) { return load(offset + C + column); },
                     [=](int64_t row, int64_t column, Vec<T> z) {
                       Swish<T> value(load(gate + row * C + column));
                       Vec<T> sigma = sigmoid<T>(z), out = value.value * sigma;
                       T* to = keep + in_panels(row, column, n);
                       store(to, value.slope * sigma);
                       store(to + n * C, out * (T(1) - sigma));
                       store(to + 2 * n * C, out);
                       end(row, column, out);
                     });
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------------

template <class T>
struct Backward {
  Sizes s;
  Weights<T> weights;
  const T *by_updated, *by_totals, *kept, *basis;
  const int64_t *senders, *receivers;
  T *by_edges, *by_sums, *by_basis, *by_shares;

  static int64_t room(const Sizes& s) { return PIECE * (8 * s.C() + 2 * s.U() + s.B()); }

  // Cotangents (PIECE, 4 U) of what the first layers of both networks got from atoms, and those of edges.
  void piece(int64_t number, T* joint) const {
    Piece p(number, s, senders, receivers);
    int64_t C = s.C(), U = s.U(), n = p.filled;
    T* e = scratch<T>(room(s));
    T *factors = e + PIECE * C, *slopes = factors + PIECE * 2 * C, *by_factors = slopes + PIECE * C;
    T *gates = by_factors + PIECE * 2 * C, *hidden = gates + PIECE * 2 * C, *rows = hidden + PIECE * 2 * U;
    const T* keep = kept + p.first * s.kept();

    auto zero = [](int64_t, int64_t) { return Vec<T>{}; };
    const T* own_basis = basis + p.first * s.basis;
    if (p.rows < n) {
      for (int64_t row = 0; row < n; row++)
        std::copy_n(basis + p.edge(row) * s.basis, s.basis, rows + row * s.basis);
      own_basis = rows;
    }
    product<T, WIDE>(own_basis, s.basis, weights.weight, s.basis, 2 * C, n, zero,
                     [=](int64_t row, int64_t column, Vec<T> z) {
                       if (s.swish && column >= C) {
                         Swish<T> swish(z);
                         store(slopes + row * C + column - C, swish.slope);
                         z = swish.value;
                       }
                       store(factors + row * 2 * C + column, z);
                     });

    const T* of_atoms = keep + n * (2 * C + s.kept_of_network());
    const int64_t* atom = s.at_end ? p.sender : p.receiver;
    network(
        p, 1, of_atoms, factors + C, by_factors + C, gates, hidden, joint + 2 * U,
        [=](int64_t row, int64_t column) {
          return read(by_totals + atom[row] * s.channels, column, s.channels);
        },
        [=, &p](int64_t row, int64_t column) {
          return by_updated ? read(by_updated + p.edge(row) * s.channels, column, s.channels) : Vec<T>{};
        },
        e);
    if (s.swish)
      for (int64_t row = 0; row < n; row++)
        for (int64_t column = 0; column < C; column += LANES<T>) {
          T* to = by_factors + row * 2 * C + C + column;
          store(to, load(to) * load(slopes + row * C + column));
        }
    auto current = [=](int64_t row, int64_t column) { return load(e + row * C + column); };
    network(p, 0, keep + n * 2 * C, factors, by_factors, gates, hidden, joint, current, current, e);

    for (int64_t row = 0; row < n; row++)
      for (int64_t column = 0; column < C; column += LANES<T>) {
        Vec<T> by = load(e + row * C + column);
        if (row < p.rows && column < s.channels)
          write(by_edges + (p.first + row) * s.channels, column, s.channels, by);
        const T* slopes = keep + in_panels(row, column, n);
        store(gates + row * 2 * C + column, by * load(slopes));
        store(gates + row * 2 * C + C + column, by * load(slopes + n * C));
      }
    auto to = [&p](T* out, int64_t width) {
      return [=, &p](int64_t row, int64_t column, Vec<T> v) {
        if (row < p.rows && column < width) write(out + (p.first + row) * width, column, width, v);
      };
    };
    product<T, NARROW>(gates, 2 * C, weights.three_back, 2 * C, s.K(), n, zero, to(by_sums, s.sums));
    product<T, NARROW>(by_factors, 2 * C, weights.weight_back, 2 * C, s.B(), n, zero, to(by_basis, s.basis));
  }

  // From cotangents of weighted outputs, `by(row, column)`, to those of the factors, of the first layer's sums and of
  // edges; the last are added to `before(row, column)`.
  template <class By, class Before>
  void network(const Piece& p, int which, const T* keep, const T* factors, T* by_factors, T* gates, T* hidden,
               T* joint, By by, Before before, T* e) const {
    const Network<T>& net = weights.networks[which];
    int64_t C = s.C(), U = s.U(), n = p.filled;
    const T* last = keep + n * 2 * U * (1 + s.hidden);
    for (int64_t row = 0; row < n; row++)
      for (int64_t column = 0; column < C; column += LANES<T>) {
        Vec<T> g = by(row, column);
        const T* slopes = last + in_panels(row, column, n);
        store(by_factors + row * 2 * C + column, g * load(slopes + 2 * n * C));
        g *= load(factors + row * 2 * C + column);
        store(gates + row * 2 * C + column, g * load(slopes));
        store(gates + row * 2 * C + C + column, g * load(slopes + n * C));
      }
    const T *from = gates, *const *back = net.last_back;
    int64_t inner = C;
    for (int64_t layer = s.hidden; layer >= 0; layer--) {
      const T* slopes = keep + layer * n * 2 * U;
      T* to = layer ? hidden : joint;
      int64_t stride = layer ? 2 * U : 4 * U;
      for (int64_t half = 0; half < 2; half++)
        product<T, WIDE>(from + half * inner, 2 * inner, back[half], inner, U, n,
                         [=](int64_t row, int64_t column) {
                           __builtin_prefetch(slopes + in_panels(row, half * U + column, n));
                           return Vec<T>{};
                         },
                         [=](int64_t row, int64_t column, Vec<T> g) {
                           column += half * U;
                           store(to + row * stride + column, g * load(slopes + in_panels(row, column, n)));
                         });
      from = to;
      inner = U;
      back = net.hidden_back;
    }
    product<T, WIDE>(joint, 4 * U, net.first_back, 2 * U, C, n, before,
                     [=](int64_t row, int64_t column, Vec<T> g) { store(e + row * C + column, g); });
  }
};

// ---- Sums over edges ---------------------------------------------------------------------------------------------

// Pieces are worked on in rounds: several at a time by all threads, then their rows are added up in the order of
// edges, each thread having some of the columns.
template <class T, class Work, class Add>
void in_rounds(const Sizes& s, int threads, int64_t width, Work work, Add add) {
  int64_t pieces = (s.edges + PIECE - 1) / PIECE, round = threads > 1 ? ROUND * threads : 1;
  round = std::min(round, pieces);
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> rows(static_cast<T*>(std::aligned_alloc(64, size_t(round * PIECE * width) * sizeof(T))));
  for (int64_t begin = 0; begin < pieces; begin += round) {
    int64_t count = std::min(round, pieces - begin);
    halo::for_rows(count, threads, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) work(begin + i, rows.get() + i * PIECE * width);
    });
    int64_t first = begin * PIECE, last = std::min(s.edges, (begin + count) * PIECE);
    halo::for_rows((width + WIDE - 1) / WIDE, threads, [&](int64_t from, int64_t to) {
      for (int64_t edge = first; edge < last; edge++)
        add(edge, rows.get() + (edge - first) * width, from * WIDE, std::min(to * WIDE, width));
    });
  }
}

template <class T>
HALO_INLINE void add_row(T* to, const T* from, int64_t first, int64_t last) {
  int64_t column = first;
  for (; column + LANES<T> <= last; column += LANES<T>) store(to + column, load(to + column) + load(from + column));
  for (; column < last; column++) to[column] += from[column];
}

template <class T>
void forward(const int64_t* sizes, void* const* tensors, int threads) {
  Sizes s;
  std::copy_n(sizes, 10, reinterpret_cast<int64_t*>(&s));
  auto in = [&](int which) { return static_cast<const T*>(tensors[which]); };
  auto index = [&](int which) { return static_cast<const int64_t*>(tensors[which]); };
  auto out = [&](int which) { return static_cast<T*>(tensors[which]); };
  Forward<T> f{s,        Weights<T>(in(6), s), in(0),  in(1), in(2), in(3),
               index(4), index(5),             out(7), out(8), out(9)};
  std::fill_n(f.totals, s.totals() * s.channels, T(0));
  const int64_t* atoms = s.at_end ? f.senders : f.receivers;
  in_rounds<T>(
      s, threads, s.C(), [&](int64_t number, T* messages) { f.piece(number, messages); },
      [&](int64_t edge, const T* message, int64_t first, int64_t last) {
        add_row(f.totals + atoms[edge] * s.channels, message, first, std::min(last, s.channels));
      });
}

template <class T>
void backward(const int64_t* sizes, void* const* tensors, int threads) {
  Sizes s;
  std::copy_n(sizes, 10, reinterpret_cast<int64_t*>(&s));
  auto in = [&](int which) { return static_cast<const T*>(tensors[which]); };
  auto index = [&](int which) { return static_cast<const int64_t*>(tensors[which]); };
  auto out = [&](int which) { return static_cast<T*>(tensors[which]); };
  Backward<T> f{s,        Weights<T>(in(6), s), in(0),  in(1),  in(2),  in(3),
                index(4), index(5),             out(7), out(8), out(9), out(10)};
  int64_t width = 4 * s.U();
  std::fill_n(f.by_shares, s.atoms * 2 * width, T(0));
  in_rounds<T>(
      s, threads, width, [&](int64_t number, T* joint) { f.piece(number, joint); },
      [&](int64_t edge, const T* joint, int64_t first, int64_t last) {
        add_row(f.by_shares + f.receivers[edge] * 2 * width, joint, first, last);
        add_row(f.by_shares + f.senders[edge] * 2 * width + width, joint, first, last);
      });
}

}  // namespace

extern "C" {
void edge_half_forward_float(const int64_t* s, void* const* t, int64_t n) { forward<float>(s, t, int(n)); }
void edge_half_forward_double(const int64_t* s, void* const* t, int64_t n) { forward<double>(s, t, int(n)); }
void edge_half_backward_float(const int64_t* s, void* const* t, int64_t n) { backward<float>(s, t, int(n)); }
void edge_half_backward_double(const int64_t* s, void* const* t, int64_t n) { backward<double>(s, t, int(n)); }
}
