// All pairs within a cutoff in a small structure: every atom is held against every image that can be near one.
//
// Compiled together with steps.cpp, with -ffp-contract=off: vectors and squares have the bits of those by NumPy, so
// the same pairs are found. Images go by atom and shift, so pairs come in the order of `Edges`, and are not sorted.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace {

// What is searched. A lattice of n short vectors leads to images; what shifts add to vectors is told by terms.
struct Searched {
  int64_t atoms, directions;
  const double* positions;    // (N, 3) Å
  const double* lattice;      // (n, 3) Å
  const double* inverse;      // (3, n) per Å
  const double* heights;      // (n,) Å
  const int64_t* transform;   // (n, 3), vectors of the structure that make up each of the lattice
  int64_t terms;
  const int64_t *axes, *components;  // each adds shift[axis] times its value to one component
  const double* values;
  double reach;               // Å, how near images have to be to be looked at
  double square_of_cutoff;
};

using Shift = std::array<int64_t, 3>;

// Atoms in one cell and their images up to the reach, by atom and then shift.
struct Images {
  std::vector<double> x, y, z;
  std::vector<int64_t> atoms, home;  // home: which image is the atom itself, brought into the cell
  std::vector<Shift> shifts;

  explicit Images(const Searched& given) {
    home.resize(size_t(given.atoms));
    std::vector<std::pair<Shift, Shift>> found;  // shift, and steps of the lattice, of the images of one atom
    for (int64_t atom = 0; atom < given.atoms; atom++) {
      const double* at = given.positions + 3 * atom;
      const int64_t n = given.directions;
      Shift into = {}, lowest = {}, highest = {};
      for (int64_t axis = 0; axis < n; axis++) {
        double place = 0.0;
        for (int k = 0; k < 3; k++) place += at[k] * given.inverse[k * n + axis];
        into[axis] = -int64_t(std::floor(place));
        place += double(into[axis]);
        const double far = given.reach / given.heights[axis];
        lowest[axis] = std::min(int64_t(std::ceil(-far - place)), int64_t(0));
        highest[axis] = std::max(int64_t(std::floor(1.0 + far - place)), int64_t(0));
      }
      found.clear();
      for (int64_t a = lowest[0]; a <= highest[0]; a++)
        for (int64_t b = lowest[1]; b <= highest[1]; b++)
          for (int64_t c = lowest[2]; c <= highest[2]; c++) {
            const Shift steps = {a + into[0], b + into[1], c + into[2]};
            Shift shift = {};
            for (int64_t axis = 0; axis < n; axis++)
              for (int k = 0; k < 3; k++) shift[k] += steps[axis] * given.transform[3 * axis + k];
            found.emplace_back(shift, steps);
          }
      if (!std::is_sorted(found.begin(), found.end())) std::sort(found.begin(), found.end());
      for (const auto& [shift, steps] : found) {
        if (steps == into) home[size_t(atom)] = int64_t(atoms.size());
        double point[3] = {at[0], at[1], at[2]};
        for (int64_t axis = 0; axis < n; axis++)
          for (int k = 0; k < 3; k++) point[k] += double(steps[axis]) * given.lattice[3 * axis + k];
        x.push_back(point[0]), y.push_back(point[1]), z.push_back(point[2]);
        atoms.push_back(atom), shifts.push_back(shift);
      }
    }
  }
};

// Which images are within reach of one of them, into room for all and one more; returns how many.
int64_t within(const Images& images, int64_t centre, double square, int32_t* found) {
  constexpr int64_t AT_ONCE = 256;
  const double x = images.x[centre], y = images.y[centre], z = images.z[centre];
  const double *px = images.x.data(), *py = images.y.data(), *pz = images.z.data();
  const int64_t all = int64_t(images.x.size());
  int64_t count = 0;
  for (int64_t first = 0; first < all; first += AT_ONCE) {
    const int64_t here = std::min(AT_ONCE, all - first);
    double squares[AT_ONCE];
    for (int64_t i = 0; i < here; i++) {
      const double dx = px[first + i] - x, dy = py[first + i] - y, dz = pz[first + i] - z;
      squares[i] = dx * dx + dy * dy + dz * dz;
    }
    for (int64_t i = 0; i < here; i++) {
      found[count] = int32_t(first + i);  // overwritten by the next, if it is too far
      count += squares[i] < square;
    }
  }
  return count;
}

// Whether an atom and the image of another, by its shift, are nearer than the cutoff.
bool is_edge(const Searched& given, int64_t receiver, int64_t sender, const Shift& shift) {
  const double *from = given.positions + 3 * receiver, *to = given.positions + 3 * sender;
  double v[3];
  for (int k = 0; k < 3; k++) v[k] = to[k] - from[k];
  for (int64_t term = 0; term < given.terms; term++)
    v[given.components[term]] += double(shift[given.axes[term]]) * given.values[term];
  return (v[0] * v[0] + v[2] * v[2]) + v[1] * v[1] < given.square_of_cutoff;
}

}  // namespace

extern "C" {

// Edges in their order. Returns how many there are; where that is more than there is room for, what was written
// counts for nothing.
int64_t search(const Searched* given, int64_t room, int64_t* receivers, int64_t* senders, int64_t* shifts) {
  const Images images(*given);
  std::vector<int32_t> near(images.x.size() + 1);
  int64_t edges = 0;
  for (int64_t receiver = 0; receiver < given->atoms; receiver++) {
    const int64_t home = images.home[receiver];
    const int64_t count = within(images, home, given->reach * given->reach, near.data());
    for (int64_t i = 0; i < count; i++) {
      const int64_t there = near[i], sender = images.atoms[there];
      if (there == home) continue;
      Shift shift = images.shifts[there];
      for (int k = 0; k < 3; k++) shift[k] -= images.shifts[home][k];
      if (!is_edge(*given, receiver, sender, shift)) continue;
      if (edges < room) {
        receivers[edges] = receiver, senders[edges] = sender;
        for (int k = 0; k < 3; k++) shifts[3 * edges + k] = shift[k];
      }
      edges++;
    }
  }
  return edges;
}

// The opposite of each edge of a symmetric list in its order.
//
// The edges from j to i are as many as those from i to j, and their shifts are the negative ones, so they follow each
// other in the opposite order. Senders of a row increase: while receivers i are gone through, row j is read once.
//
// unread: room for a number of each atom.
void opposites(int64_t edges, int64_t atoms, const int64_t* receivers, const int64_t* senders, int64_t* unread,
               int64_t* partners) {
  for (int64_t atom = 0, edge = 0; atom < atoms; atom++) {
    unread[atom] = edge;
    while (edge < edges && receivers[edge] == atom) edge++;
  }
  for (int64_t first = 0; first < edges;) {
    int64_t last = first;
    while (last < edges && receivers[last] == receivers[first] && senders[last] == senders[first]) last++;
    int64_t& there = unread[senders[first]];
    for (int64_t edge = first; edge < last; edge++) partners[edge] = there + (last - 1 - edge);
    there += last - first;
    first = last;
  }
}

}  // extern "C"
