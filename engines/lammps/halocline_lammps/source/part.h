// The part of a structure that a rank evaluates: its own atoms, and of the ghosts those that can tell.
#pragma once

#include "program.h"

namespace halocline {

// Neighbours of atoms, as LAMMPS lists them: with a skin, ghosts' own included.
struct Neighbours {
  const double* const* positions;  // (owned + ghosts, 3) Å
  const int* counts;
  int* const* of;
  int mask;  // what to leave of each number
};

// Begins with the owned atoms, and takes in whatever is closer than the cutoff to what it has, hop by hop. `place` has
// room for all atoms, owned and ghosts, and is scratch. Throws std::runtime_error where a list is not symmetric.
void gather(const Neighbours& neighbours, int owned, double cutoff, int hops, Part& part, std::vector<int64_t>& place);

}  // namespace halocline
