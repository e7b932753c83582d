// Sums over pairs and triples of atoms, of which passes.py is the definition. Nothing is kept of a pair: each pass
// computes distances anew, which costs less than to write them down. Every row of a result has one writer.

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "lanes.h"
#include "rows.h"

namespace {

constexpr int REFERENCES = 8;  // padded; see coefficients.py
constexpr int AT_ONCE = 256;   // pairs that are damped together
constexpr double STEEPNESS = 16.0;

}  // namespace

// As in compiled.py.
struct Sites {
  int64_t atoms, elements, groups, vectors, home;
  const double* positions;  // (atoms, 3)
  const int64_t* species;   // (atoms,)
  const int64_t* starts;    // (groups + 1,)
  const double* boxes;      // (groups + 1, 6)
  const double* lattice;    // (vectors, 3)
};

struct Elements {
  int64_t zero;  // whether damping is zero damping
  double s6, s8, s9;
  const double *covalent, *ratios, *sixth, *eighth, *three;
};

struct Coefficients {
  const double *weights, *rows, *slopes;
};

struct Sums {
  double *energies, *forces, *virials, *slopes;
};

namespace {

double gap(const double* box, const double* point) {
  double squares = 0.0;
  for (int axis = 0; axis < 3; axis++) {
    const double below = box[axis] - point[axis], above = point[axis] - box[3 + axis];
    const double out = below > 0.0 ? below : above > 0.0 ? above : 0.0;
    squares += out * out;
  }
  return squares;
}

// Call use(j, vector, square) for every neighbour of an atom.
template <class F>
void neighbours(const Sites& sites, int64_t i, double cutoff, F&& use) {
  const double reach = cutoff * cutoff, loose = reach * (1.0 + 1e-12);
  const double* own = sites.positions + 3 * i;
  for (int64_t v = 0; v < sites.vectors; v++) {
    const double* lattice = sites.lattice + 3 * v;
    const double point[3] = {own[0] - lattice[0], own[1] - lattice[1], own[2] - lattice[2]};
    if (gap(sites.boxes + 6 * sites.groups, point) > loose) continue;
    for (int64_t group = 0; group < sites.groups; group++) {
      if (gap(sites.boxes + 6 * group, point) > loose) continue;
      for (int64_t j = sites.starts[group]; j < sites.starts[group + 1]; j++) {
        const double* other = sites.positions + 3 * j;
        const double x = other[0] - own[0] + lattice[0];
        const double y = other[1] - own[1] + lattice[1];
        const double z = other[2] - own[2] + lattice[2];
        const double square = x * x + y * y + z * z;
        if (square > reach || (v == sites.home && j == i)) continue;
        use(j, x, y, z, square);
      }
    }
  }
}

double count(double radii, double length) { return 1.0 / (1.0 + std::exp(-STEEPNESS * (radii / length - 1.0))); }

double dot(const double* a, const double* b) {
  double sum = 0.0;
  for (int r = 0; r < REFERENCES; r++) sum += a[r] * b[r];
  return sum;
}

// What an atom has gathered.
struct Row {
  double energy = 0.0, slope = 0.0, force[3] = {0.0, 0.0, 0.0}, virial[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};

  // A pair whose energy has this derivative by the distance, over the distance.
  void pull(double x, double y, double z, double gradient) {
    const double fx = gradient * x, fy = gradient * y, fz = gradient * z;
    force[0] += fx, force[1] += fy, force[2] += fz;
    virial[0] += fx * x, virial[1] += fy * y, virial[2] += fz * z;
    virial[3] += fy * z, virial[4] += fx * z, virial[5] += fx * y;
  }

  void write(const Sums& sums, int64_t i) const {
    sums.energies[i] = energy, sums.slopes[i] = slope;
    for (int axis = 0; axis < 3; axis++) sums.forces[3 * i + axis] = force[axis];
    const int places[9] = {0, 5, 4, 5, 1, 3, 4, 3, 2};
    for (int k = 0; k < 9; k++) sums.virials[9 * i + k] = 0.5 * virial[places[k]];
  }
};

// Pairs of one atom, damped together.
struct Batch {
  int filled = 0;
  double x[AT_ONCE], y[AT_ONCE], z[AT_ONCE], squares[AT_ONCE], c6[AT_ONCE], slopes[AT_ONCE];
  double ratios[AT_ONCE], sixth[AT_ONCE], eighth[AT_ONCE], values[AT_ONCE], gradients[AT_ONCE];

  void damp(const Elements& elements) {
    const double s6 = elements.s6, s8 = elements.s8;
    if (elements.zero) {
      for (int p = 0; p < filled; p++) {
        const double inverse = 1.0 / squares[p], inverse6 = inverse * inverse * inverse;
        const double a = sixth[p] * inverse, b = eighth[p] * inverse;
        const double b2 = b * b, b4 = b2 * b2;
        const double six = 1.0 / (1.0 + 6.0 * (a * a * a) * (a * a * a) * a), eight = 1.0 / (1.0 + 6.0 * b4 * b4);
        const double one = s6 * inverse6, other = s8 * ratios[p] * inverse6 * inverse;
        values[p] = one * six + other * eight;
        gradients[p] = (one * (14.0 * six * (1.0 - six) - 6.0 * six) +
                        other * (16.0 * eight * (1.0 - eight) - 8.0 * eight)) *
                       inverse;
      }
    } else {
      for (int p = 0; p < filled; p++) {
        const double r2 = squares[p], r4 = r2 * r2, r6 = r4 * r2;
        const double six = 1.0 / (r6 + sixth[p]), eight = 1.0 / (r6 * r2 + eighth[p]), weight = s8 * ratios[p];
        values[p] = s6 * six + weight * eight;
        gradients[p] = -6.0 * s6 * r4 * six * six - 8.0 * weight * r6 * eight * eight;
      }
    }
  }

  void empty(const Elements& elements, Row* row) {
    damp(elements);
    for (int p = 0; p < filled; p++) {
      row->energy -= 0.5 * c6[p] * values[p];
      row->slope -= slopes[p] * values[p];
      row->pull(x[p], y[p], z[p], -c6[p] * gradients[p]);
    }
    filled = 0;
  }
};

struct Neighbour {
  double x, y, z, square, c6, slope, overlap;
  int64_t atom, element;
};

// (a)^(8/3).
double steep(double a) {
  const double root = std::cbrt(a);
  return a * a * root * root;
}

void triples(const Sites& sites, const Elements& elements, const Coefficients& coefficients, double reach,
             const std::vector<Neighbour>& near, Row* row) {
  const int64_t count = int64_t(near.size()), kinds = sites.elements;
  for (int64_t j = 0; j < count; j++) {
    const Neighbour& one = near[j];
    const double* rows = coefficients.rows + one.atom * kinds * REFERENCES;
    const double* radii = elements.three + one.element * kinds;
    for (int64_t k = j + 1; k < count; k++) {
      const Neighbour& other = near[k];
      const double x = other.x - one.x, y = other.y - one.y, z = other.z - one.z;
      const double a = one.square, b = other.square, c = x * x + y * y + z * z;
      if (c > reach) continue;
      const double third = dot(rows + other.element * REFERENCES, coefficients.weights + other.atom * REFERENCES);
      const double product = a * b * c;
      const double overlap = one.overlap * other.overlap * steep(radii[other.element] / c);
      const double damping = 1.0 / (1.0 + 6.0 * overlap);
      const double u = a + c - b, v = a - c + b, w = c - a + b;
      const double lone = 1.0 / (product * std::sqrt(product));
      const double angular = 0.375 * u * v * w * lone / product;
      const double strength = elements.s9 * std::sqrt(one.c6 * other.c6 * third) * damping;
      const double energy = strength * (angular + lone);
      const double inner = strength * 0.375 * lone / product;
      const double outer = strength * (-2.5 * angular - 1.5 * lone) + energy * 16.0 * damping * overlap;
      const double by_a = inner * (v * w + u * w - u * v) + outer / a;
      const double by_b = inner * (u * w + u * v - v * w) + outer / b;
      row->energy += energy / 3.0;
      row->slope += 0.5 * energy * (one.slope + other.slope);
      row->pull(one.x, one.y, one.z, 2.0 * by_a);
      row->pull(other.x, other.y, other.z, 2.0 * by_b);
    }
  }
}

}  // namespace

// Coordination numbers, and the square of the distance of the nearest neighbour.
extern "C" void coordination(const Sites* sites, const Elements* elements, double cutoff, int threads,
                             double* counted, double* nearest) {
  halo::for_rows(sites->atoms, threads, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) {
      const double radius = elements->covalent[sites->species[i]];
      double sum = 0.0, least = std::numeric_limits<double>::infinity();
      neighbours(*sites, i, cutoff, [&](int64_t j, double, double, double, double square) {
        sum += count(radius + elements->covalent[sites->species[j]], std::sqrt(square));
        least = square < least ? square : least;
      });
      counted[i] = sum, nearest[i] = least;
    }
  });
}

extern "C" void two_body(const Sites* sites, const Elements* elements, const Coefficients* coefficients,
                         double cutoff, int threads, const Sums* sums) {
  const int64_t kinds = sites->elements;
  halo::for_rows(sites->atoms, threads, [&](int64_t first, int64_t last) {
    Batch batch;
    for (int64_t i = first; i < last; i++) {
      Row row;
      const int64_t own = sites->species[i] * kinds;
      const double* rows = coefficients->rows + i * kinds * REFERENCES;
      const double* slopes = coefficients->slopes + i * kinds * REFERENCES;
      neighbours(*sites, i, cutoff, [&](int64_t j, double x, double y, double z, double square) {
        const int64_t element = sites->species[j];
        const double* weights = coefficients->weights + j * REFERENCES;
        const int p = batch.filled++;
        batch.x[p] = x, batch.y[p] = y, batch.z[p] = z, batch.squares[p] = square;
        batch.c6[p] = dot(rows + element * REFERENCES, weights);
        batch.slopes[p] = dot(slopes + element * REFERENCES, weights);
        batch.ratios[p] = elements->ratios[own + element];
        batch.sixth[p] = elements->sixth[own + element], batch.eighth[p] = elements->eighth[own + element];
        if (batch.filled == AT_ONCE) batch.empty(*elements, &row);
      });
      batch.empty(*elements, &row);
      row.write(*sums, i);
    }
  });
}

// What derivatives by coordination numbers make of distances.
extern "C" void pulled(const Sites* sites, const Elements* elements, const double* slopes, double cutoff,
                       int threads, const Sums* sums) {
  halo::for_rows(sites->atoms, threads, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) {
      Row row;
      const double radius = elements->covalent[sites->species[i]];
      neighbours(*sites, i, cutoff, [&](int64_t j, double x, double y, double z, double square) {
        const double radii = radius + elements->covalent[sites->species[j]], length = std::sqrt(square);
        const double counts = count(radii, length);
        const double gradient = -counts * (1.0 - counts) * STEEPNESS * radii / (square * length);
        row.pull(x, y, z, (slopes[i] + slopes[j]) * gradient);
      });
      row.write(*sums, i);
    }
  });
}

extern "C" void three_body(const Sites* sites, const Elements* elements, const Coefficients* coefficients,
                           double cutoff, int threads, const Sums* sums) {
  const int64_t kinds = sites->elements;
  halo::for_rows(sites->atoms, threads, [&](int64_t first, int64_t last) {
    std::vector<Neighbour> near;
    for (int64_t i = first; i < last; i++) {
      Row row;
      near.clear();
      neighbours(*sites, i, cutoff, [&](int64_t j, double x, double y, double z, double square) {
        const int64_t element = sites->species[j], place = (i * kinds + element) * REFERENCES;
        const double* weights = coefficients->weights + j * REFERENCES;
        const double c6 = dot(coefficients->rows + place, weights);
        const double radius = elements->three[sites->species[i] * kinds + element];
        const double slope = dot(coefficients->slopes + place, weights) / c6;
        near.push_back({x, y, z, square, c6, slope, steep(radius / square), j, element});
      });
      triples(*sites, *elements, *coefficients, cutoff * cutoff, near, &row);
      row.write(*sums, i);
    }
  });
}
