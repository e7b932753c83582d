"""A rank divides the atoms that it owns into parts, which it evaluates one after another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.resident.building import ResidentDomain
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.peers import Peers
from halocline.graph import Graph, NeighbourRule, Structure
from halocline.memory.memory_model import MemoryModel
from halocline.partition import Division, domain_graph


@final
@dataclass(frozen=True, slots=True)
class Dividing:
    """Finds parts anew with every domain, from it alone: a run that goes on has the same ones.

    Attributes:
        division: into parts. A bound on memory is that of this process.
        memory: what the model takes, if there is a bound.
    """

    division: Division
    memory: MemoryModel | None = None

    def divided(
        self,
        atoms: OwnedAtoms,
        built: ResidentDomain,
        cell: NDArray[np.float64],
        pbc: NDArray[np.bool_],
        rule: NeighbourRule,
        hops: int,
        peers: Peers,
    ) -> ResidentDomain:
        """The same domain, with the part of each atom that the rank owns. All ranks have to call this.

        Args:
            atoms: that it owns, where they were when the domain was built.
            built: the domain.
            cell: (3, 3) Å.
            pbc: (3,), which of its vectors repeat.
            rule: of the model.
            hops: of the model.
            peers: all ranks.

        Raises:
            UsageError: what the rank holds, or the smallest of parts, exceeds the bound on memory.
            LostPeerError: another rank has ended, or hangs.
        """
        division = self.division
        if not division.divides:
            return built
        everywhere = None if self.memory is None else built.positions(atoms.positions, peers)
        if not len(atoms):
            return built
        edges, owned = built.domain.edges, built.domain.owned
        among = edges.take(np.flatnonzero((edges.receivers < owned) & (edges.senders < owned)))
        mine = Graph.build(Structure(atoms.numbers, atoms.positions, cell, pbc), among)
        if self.memory is not None and everywhere is not None and division.memory is not None:
            graph = domain_graph(built.domain, everywhere, cell, pbc, rule)
            bound = (division.partitioner, division.memory, mine)
            division = replace(division, parts=self.memory.parts(graph, len(edges), hops, *bound))
        return replace(built, domain=replace(built.domain, parts=division.owners(mine)))
