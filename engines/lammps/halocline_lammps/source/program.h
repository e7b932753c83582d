// A model that was exported with `halocline export MODEL --backend aot:kind=program`, and the part of a structure that
// it evaluates. Nothing of LAMMPS is known here, and nothing of PyTorch is seen by those who include this.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace halocline {

// What a package says of its model.
struct Facts {
  double cutoff = 0.0;                // Å, of neighbours
  int hops = 0;                       // how often messages are passed: atoms see as many cutoffs far
  std::vector<std::string> elements;  // chemical symbols that the model knows
  std::vector<int64_t> numbers;       // their atomic numbers
  std::vector<double> references;     // eV, what each adds to the energy of its atoms
};

// Atoms in the order of the hops after which they are first met, owned ones first, and edges in that of receivers.
// Sizes of hop levels count all atoms, edges and pairs up to that many hops.
struct Part {
  std::vector<int64_t> atoms;               // of LAMMPS, in this order
  std::vector<int64_t> species;             // atomic numbers
  std::vector<int64_t> senders, receivers;  // places of atoms in this order
  std::vector<double> vectors;              // (edges, 3) Å, from receiver to sender
  std::vector<int64_t> pairs;               // the first edge of each two that are opposite
  std::vector<int64_t> pair_of;             // of each edge
  std::vector<int64_t> levels, edge_levels, pair_levels;
};

// Throws std::runtime_error with a sentence for users.
class Program {
 public:
  // threads: that one evaluation may use.
  Program(const std::string& path, int threads);
  ~Program();

  const Facts& facts() const;

  // Energies of owned atoms (eV, without references), and their sum's derivatives by vectors (edges, 3), eV/Å.
  void run(Part& part, std::vector<double>& energies, std::vector<double>& gradients);

 private:
  struct Loaded;
  std::unique_ptr<Loaded> loaded_;
};

}  // namespace halocline
