// Products of the rows of components with matrices, one for all atoms or one for each species of them.
//
// Six rows by some vectors of columns are added up in registers, over all columns of what is read, so a row of a result
// has the same bits whatever rows are beside it and however many threads there are. Rows are found by the number of
// their atom: those of one species need not lie together.
#include <algorithm>
#include <memory>
#include <vector>

#include "products.h"
#include "rows.h"

namespace {

// Columns with those that fill up the last panel.
inline int64_t whole(int64_t columns) { return (columns + WIDE - 1) / WIDE * WIDE; }

// Multiplications of a task, about; a thread takes some tasks at a time.
constexpr int64_t TASK = 1 << 20;

// Components (size, stride, width) of atoms that are multiplied with matrices (species, width, columns), packed.
template <class T>
struct Factor {
  const T *rows, *panels;
  int64_t stride, width, species;
};

// Components (size, stride, columns) that one product is written to, or the sum of two.
template <class T>
struct Target {
  T* rows;
  int64_t size, stride, columns, count;
  Factor<T> factors[2];
};

// Rows first to last of the components of the atoms of one species, component after component.
struct Task {
  int64_t target, species, first, last;
};

// Atoms sorted by species; those of one begin at its start.
struct Order {
  std::vector<int64_t> atoms, starts;

  void sort(int64_t n, const int64_t* kinds, int64_t species) {
    starts.assign(size_t(species + 1), 0);
    if (species == 1) {
      starts[1] = n;
      return;
    }
    atoms.resize(size_t(n));
    for (int64_t i = 0; i < n; i++) starts[size_t(kinds[i] + 1)]++;
    for (int64_t s = 0; s < species; s++) starts[size_t(s + 1)] += starts[size_t(s)];
    for (int64_t i = 0; i < n; i++) atoms[size_t(starts[size_t(kinds[i])]++)] = i;
    for (int64_t s = species; s > 0; s--) starts[size_t(s)] = starts[size_t(s - 1)];
    starts[0] = 0;
  }
};

template <class T, int COUNT>
__attribute__((noinline)) void multiply(const T* const* from, const T* panel, int64_t width, T* const* to,
                                        int64_t columns, bool add) {
  constexpr int64_t L = LANES<T>;
  Vec<T> sum[TILE][COUNT];
#pragma GCC unroll 6
  for (int r = 0; r < TILE; r++)
#pragma GCC unroll 4
    for (int v = 0; v < COUNT; v++)
      sum[r][v] = !add                        ? Vec<T>{}
                  : (v + 1) * L <= columns ? load(to[r] + v * L)
                                           : halo::load_first(to[r] + v * L, columns - v * L);
  const T *x0 = from[0], *x1 = from[1], *x2 = from[2], *x3 = from[3], *x4 = from[4], *x5 = from[5];
  for (int64_t k = 0; k < width; k++) {
    Vec<T> weight[COUNT];
#pragma GCC unroll 4
    for (int v = 0; v < COUNT; v++) weight[v] = load(panel + k * WIDE + v * L);
    const T x[TILE] = {x0[k], x1[k], x2[k], x3[k], x4[k], x5[k]};
#pragma GCC unroll 6
    for (int r = 0; r < TILE; r++)
#pragma GCC unroll 4
      for (int v = 0; v < COUNT; v++) sum[r][v] += x[r] * weight[v];
  }
#pragma GCC unroll 6
  for (int r = 0; r < TILE; r++)
#pragma GCC unroll 4
    for (int v = 0; v < COUNT; v++)
      if ((v + 1) * L <= columns)
        store(to[r] + v * L, sum[r][v]);
      else
        halo::store_first(to[r] + v * L, sum[r][v], columns - v * L);
}

// As many vectors as the columns that are left need.
template <class T, int COUNT = VECTORS>
void multiply_columns(const T* const* from, const T* panel, int64_t width, T* const* to, int64_t columns, bool add) {
  if constexpr (COUNT > 1)
    if (columns <= (COUNT - 1) * LANES<T>)
      return multiply_columns<T, COUNT - 1>(from, panel, width, to, columns, add);
  multiply<T, COUNT>(from, panel, width, to, columns, add);
}

// Tiles that end with fewer rows repeat the last one: it is read before it is written, and gets the same once more.
template <class T>
void run(const Target<T>& target, const Task& task, const Order& order, bool sorted) {
  const int64_t begin = order.starts[size_t(task.species)];
  const int64_t atoms = order.starts[size_t(task.species + 1)] - begin;
  const int64_t step = VECTORS * LANES<T>;
  for (int64_t f = 0; f < target.count; f++) {
    const Factor<T>& factor = target.factors[f];
    const int64_t number = factor.species > 1 ? task.species : 0;
    const T* matrix = factor.panels + number * whole(target.columns) * factor.width;
    for (int64_t column = 0; column < target.columns; column += step) {
      const T* panel = matrix + column / WIDE * WIDE * factor.width + column % WIDE;
      for (int64_t row = task.first; row < task.last; row += TILE) {
        const T* from[TILE];
        T* to[TILE];
        for (int64_t r = 0; r < TILE; r++) {
          const int64_t here = std::min(row + r, task.last - 1), component = here / atoms;
          const int64_t place = begin + here % atoms, atom = sorted ? order.atoms[size_t(place)] : place;
          from[r] = factor.rows + (component * factor.stride + atom) * factor.width;
          to[r] = target.rows + (component * target.stride + atom) * target.columns + column;
        }
        multiply_columns<T>(from, panel, factor.width, to, target.columns - column, f > 0);
      }
    }
  }
}

template <class T>
void multiply_all(const std::vector<Target<T>>& targets, int64_t n, const int64_t* kinds, int64_t species,
                  int64_t threads) {
  static thread_local Order order;
  static thread_local std::vector<Task> tasks;
  order.sort(n, kinds, species);
  tasks.clear();
  for (size_t t = 0; t < targets.size(); t++) {
    int64_t width = 0;
    for (int64_t f = 0; f < targets[t].count; f++) width += targets[t].factors[f].width;
    const int64_t most = std::max<int64_t>(1, TASK / (width * targets[t].columns * TILE)) * TILE;
    for (int64_t s = 0; s < species; s++) {
      const int64_t rows = targets[t].size * (order.starts[size_t(s + 1)] - order.starts[size_t(s)]);
      for (int64_t first = 0; first < rows; first += most)
        tasks.push_back({int64_t(t), s, first, std::min(first + most, rows)});
    }
  }
  const Order& sorted = order;  // of this thread, for all of them
  const Task* own = tasks.data();
  halo::for_rows(int64_t(tasks.size()), int(threads), [&, own](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; k++) run(targets[size_t(own[k].target)], own[k], sorted, species > 1);
  });
}

// What maps.py says of a map: of two arrays one after the other how many parts they have, the columns of all matrices,
// then of each part its components, width, species, and the first component of the result that it belongs to.
struct Parts {
  const int64_t* told;
  int64_t count() const { return told[0] + told[1]; }
  int64_t array(int64_t part) const { return part >= told[0]; }
  int64_t columns() const { return told[2]; }
  int64_t size(int64_t part) const { return told[3 + 4 * part]; }
  int64_t width(int64_t part) const { return told[4 + 4 * part]; }
  int64_t species(int64_t part) const { return told[5 + 4 * part]; }
  int64_t first(int64_t part) const { return told[6 + 4 * part]; }
  int64_t most() const {
    int64_t found = 1;
    for (int64_t part = 0; part < count(); part++) found = std::max(found, species(part));
    return found;
  }
};

// One of the two arrays: of how many atoms, and how many numbers in all.
template <class T>
struct Array {
  T* numbers;
  int64_t atoms, count;
};

template <class T>
void map(const int64_t* told, const Array<const T>* arrays, const T* panels, const int64_t* kinds, T* result,
         int64_t n, int64_t threads) {
  static thread_local std::vector<Target<T>> targets;
  const Parts parts{told};
  const int64_t columns = parts.columns();
  targets.clear();
  const T* numbers[2] = {arrays[0].numbers, arrays[1].numbers};
  for (int64_t part = 0; part < parts.count(); part++) {
    const int64_t array = parts.array(part), width = parts.width(part), species = parts.species(part);
    const int64_t size = parts.size(part), atoms = arrays[array].atoms;
    T* to = result + parts.first(part) * n * columns;
    auto same = std::find_if(targets.begin(), targets.end(), [to](const Target<T>& t) { return t.rows == to; });
    if (same == targets.end()) same = targets.insert(same, {to, size, n, columns, 0, {}});
    same->factors[same->count++] = {numbers[array], panels, atoms, width, species};
    numbers[array] += size * atoms * width;
    panels += species * (whole(columns) * width + whole(width) * columns);
  }
  multiply_all(targets, n, kinds, parts.most(), threads);
}

// Gradients of arrays, of which one may not be asked for (no numbers); zero for what the map does not read.
template <class T>
void pull(const int64_t* told, const T* gradient, const T* panels, const int64_t* kinds, const Array<T>* arrays,
          int64_t n, int64_t threads) {
  static thread_local std::vector<Target<T>> targets;
  const Parts parts{told};
  const int64_t columns = parts.columns();
  targets.clear();
  T* numbers[2] = {arrays[0].numbers, arrays[1].numbers};
  for (int64_t part = 0; part < parts.count(); part++) {
    const int64_t array = parts.array(part), width = parts.width(part), species = parts.species(part);
    const int64_t size = parts.size(part), atoms = arrays[array].atoms;
    panels += species * whole(columns) * width;
    if (numbers[array] != nullptr) {
      const T* from = gradient + parts.first(part) * n * columns;
      targets.push_back({numbers[array], size, atoms, width, 1, {{from, panels, n, columns, species}, {}}});
      for (int64_t m = 0; m < size; m++, numbers[array] += atoms * width)
        std::fill(numbers[array] + n * width, numbers[array] + atoms * width, T(0));
    }
    panels += species * whole(width) * columns;
  }
  for (int array = 0; array < 2; array++)
    if (numbers[array] != nullptr) std::fill(numbers[array], arrays[array].numbers + arrays[array].count, T(0));
  multiply_all(targets, n, kinds, parts.most(), threads);
}

}  // namespace

#define HALO_MAPS(T, SUFFIX)                                                                                          \
  extern "C" void map_##SUFFIX(const int64_t* told, const T* first, int64_t first_atoms, const T* second,             \
                               int64_t second_atoms, const T* panels, const int64_t* kinds, T* result, int64_t n,     \
                               int64_t threads) {                                                                     \
    const Array<const T> arrays[2] = {{first, first_atoms, 0}, {second, second_atoms, 0}};                            \
    map(told, arrays, panels, kinds, result, n, threads);                                                             \
  }                                                                                                                   \
  extern "C" void pull_##SUFFIX(const int64_t* told, const T* gradient, const T* panels, const int64_t* kinds,        \
                                T* first, int64_t first_atoms, int64_t first_count, T* second, int64_t second_atoms,  \
                                int64_t second_count, int64_t n, int64_t threads) {                                   \
    const Array<T> arrays[2] = {{first, first_atoms, first_count}, {second, second_atoms, second_count}};             \
    pull(told, gradient, panels, kinds, arrays, n, threads);                                                          \
  }

HALO_MAPS(float, float)
HALO_MAPS(double, double)
