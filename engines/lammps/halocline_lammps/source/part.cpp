#include "part.h"

#include <algorithm>
#include <stdexcept>

namespace halocline {

namespace {

// Appends the edges of one receiver, and those of their senders that are new.
void gather_row(const Neighbours& neighbours, int64_t receiver, double squared, Part& part,
                std::vector<int64_t>& place) {
  const int64_t atom = part.atoms[receiver];
  const double* here = neighbours.positions[atom];
  for (int k = 0; k < neighbours.counts[atom]; k++) {
    const int other = neighbours.of[atom][k] & neighbours.mask;
    const double* there = neighbours.positions[other];
    const double vector[3] = {there[0] - here[0], there[1] - here[1], there[2] - here[2]};
    if (vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2] >= squared) continue;
    if (place[other] < 0) {
      place[other] = int64_t(part.atoms.size());
      part.atoms.push_back(other);
    }
    part.receivers.push_back(receiver);
    part.senders.push_back(place[other]);
    part.vectors.insert(part.vectors.end(), vector, vector + 3);
  }
}

// Edges that lead back and forth are a pair, which the first of them opens. Those that come from beyond all rows are
// pairs by themselves.
void pair_up(int64_t rows, Part& part) {
  const int64_t edges = int64_t(part.senders.size());
  std::vector<int64_t> starts(size_t(rows) + 1, 0);
  for (const int64_t receiver : part.receivers) starts[receiver + 1]++;
  for (int64_t row = 0; row < rows; row++) starts[row + 1] += starts[row];
  part.pair_of.resize(size_t(edges));
  for (int64_t edge = 0; edge < edges; edge++) {
    const int64_t sender = part.senders[edge], receiver = part.receivers[edge];
    if (sender > receiver) {
      part.pair_of[edge] = int64_t(part.pairs.size());
      part.pairs.push_back(edge);
      continue;
    }
    const auto begin = part.senders.begin() + starts[sender], end = part.senders.begin() + starts[sender + 1];
    const auto opposite = std::find(begin, end, receiver);
    if (opposite == end) throw std::runtime_error("an atom is the neighbour of another that is not its neighbour");
    part.pair_of[edge] = part.pair_of[opposite - part.senders.begin()];
  }
}

}  // namespace

void gather(const Neighbours& neighbours, int owned, double cutoff, int hops, Part& part,
            std::vector<int64_t>& place) {
  for (auto* numbers : {&part.atoms, &part.senders, &part.receivers, &part.pairs, &part.pair_of, &part.levels,
                        &part.edge_levels, &part.pair_levels})
    numbers->clear();
  part.vectors.clear();
  std::fill(place.begin(), place.end(), -1);
  for (int atom = 0; atom < owned; atom++) {
    place[atom] = atom;
    part.atoms.push_back(atom);
  }
  part.levels.push_back(owned);
  int64_t receiver = 0;
  for (int hop = 0; hop < hops; hop++) {
    for (; receiver < part.levels[hop]; receiver++) gather_row(neighbours, receiver, cutoff * cutoff, part, place);
    part.levels.push_back(int64_t(part.atoms.size()));
    part.edge_levels.push_back(int64_t(part.senders.size()));
  }
  pair_up(receiver, part);
  for (const int64_t edges : part.edge_levels)
    part.pair_levels.push_back(std::lower_bound(part.pairs.begin(), part.pairs.end(), edges) - part.pairs.begin());
}

}  // namespace halocline
