// pair_style halocline: energies, forces and virial of a model that Halocline exported.
#pragma once

#include "pair.h"

#include <memory>
#include <vector>

#include "part.h"

namespace LAMMPS_NS {

class PairHalocline : public Pair {
 public:
  explicit PairHalocline(class LAMMPS*);
  ~PairHalocline() override;
  void settings(int, char**) override;
  void coeff(int, char**) override;
  void init_style() override;
  void setup() override;
  double init_one(int, int) override;
  void compute(int, int) override;

 private:
  double reach() const;
  void add_energies();
  void add_forces();

  std::unique_ptr<halocline::Program> program_;
  std::vector<int> element_;  // of each type from 1 on, its place among the elements of the model
  halocline::Part part_;
  std::vector<int64_t> place_;
  std::vector<double> energies_, gradients_;
};

}  // namespace LAMMPS_NS
