"""Sharing work of uneven size among ranks."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def deal(costs: Sequence[int], ranks: int) -> list[list[int]]:
    """Give each piece of work to one rank: the dearest first, always to the rank that has least to do.

    R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 17, 416 (1969).

    Args:
        costs: of each piece, in any unit.
        ranks: among how many to share.

    Returns:
        For each rank the numbers of its pieces, ascending; nothing for some if there are few.
    """
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [(0, rank) for rank in range(ranks)]
    for piece in sorted(range(len(costs)), key=lambda i: -costs[i]):
        load, rank = heapq.heappop(loads)
        shares[rank].append(piece)
        heapq.heappush(loads, (load + costs[piece], rank))
    return [sorted(share) for share in shares]
