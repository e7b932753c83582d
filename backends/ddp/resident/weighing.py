"""What atoms ask of the ranks that are to hold them, before these decide how to treat halos."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.messages import Settle
from halocline.backends.ddp.resident.building import ResidentDomain
from halocline.backends.ddp.resident.dividing import Dividing
from halocline.backends.ddp.resident.housing import house
from halocline.backends.ddp.resident.peers import Peers
from halocline.cost.loads import RankLoad
from halocline.cost.profile import Profile
from halocline.cost.speeds import excerpt_of_part
from halocline.graph import Graph, NeighbourRule
from halocline.partition import Cutter, Division, domain_graph


def weigh(
    start: Settle, rule: NeighbourRule, hops: int, peers: Peers, profile: Profile
) -> tuple[RankLoad, Graph | None]:
    """Build the domains of recomputing ranks, which hold those of exchanging ones, and count.

    Args:
        start: the atoms of a run that begins.
        rule: of the model.
        hops: of the model.
        peers: all ranks.
        profile: of the model.

    Returns:
        The load of this rank, and, for the rank with most edges, a graph to learn its speed from.

    Raises:
        HaloclineError: domains cannot be built, or another rank was lost.
    """
    division = Division.parse(start.partition)
    housed = house(start.atoms, None, start.cell, start.pbc, rule, hops, Dividing(division), peers, exchange=False)
    domain, ranks = housed.domain.domain, peers.size
    positions = housed.domain.positions(housed.atoms.positions, peers)
    graph = domain_graph(domain, positions, start.cell, start.pbc, rule)
    load = RankLoad.counted(
        Cutter(graph.edges, len(domain.atoms)),
        np.arange(domain.owned),
        domain.parts,
        _ranks_of(housed.domain, peers),
        ranks=ranks,
        profile=profile,
    )
    edges = peers.gathered(np.array([len(graph.edges)]))[:, 0]
    busiest = edges.any() and peers.rank == int(edges.argmax())
    return load, excerpt_of_part(graph, domain.owned // division.parts) if busiest else None


def _ranks_of(domain: ResidentDomain, peers: Peers) -> NDArray[np.int64]:
    """The rank that owns each atom of a domain, (n,)."""
    ranks = np.full(len(domain.domain.atoms), peers.rank)
    for rank, halo in enumerate(domain.receives):
        ranks[halo] = rank
    return ranks
