// Edges in the order of their senders.
#include <cstdint>

// A counting sort: edges of one sender keep their order, so that sums over them have one order, too. Senders are
// below n_in. starts has n_in + 1 places: sender j has order[starts[j]] to order[starts[j + 1] - 1].
extern "C" void order_by_sender(int64_t edges, int64_t n_in, const int64_t* senders, int64_t* order,
                                int64_t* starts) {
  for (int64_t j = 0; j <= n_in; j++) starts[j] = 0;
  for (int64_t e = 0; e < edges; e++) starts[senders[e]]++;
  int64_t end = 0;
  for (int64_t j = 0; j <= n_in; j++) starts[j] = end += starts[j];
  // Backwards, so that each place of starts goes down from the end of its sender's edges to their first.
  for (int64_t e = edges; e-- > 0;) order[--starts[senders[e]]] = e;
}
