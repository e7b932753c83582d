"""Atoms find their ranks, and each rank builds the domain of those that it has then."""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.resident.building import ResidentDomain, build_resident_domain
from halocline.backends.ddp.resident.dividing import Dividing
from halocline.backends.ddp.resident.frame import Frame
from halocline.backends.ddp.resident.migration import settle
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.peers import Peers
from halocline.backends.ddp.resident.regions import Regions
from halocline.graph import NeighbourRule
from halocline.graph.neighbours import DEFAULT_SKIN


@final
class Housed(NamedTuple):
    """What a rank has of a structure.

    Attributes:
        atoms: that it owns.
        regions: of all ranks.
        domain: of its atoms, and of those around them.
    """

    atoms: OwnedAtoms
    regions: Regions
    domain: ResidentDomain


def house(
    atoms: OwnedAtoms,
    regions: Regions | None,
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    rule: NeighbourRule,
    hops: int,
    dividing: Dividing,
    peers: Peers,
    *,
    exchange: bool,
) -> Housed:
    """Hand atoms over to the ranks in whose regions they are, and build the domain of this rank.

    Args:
        atoms: of this rank until now.
        regions: of the ranks; balanced ones if they are None.
        cell: (3, 3) Å.
        pbc: (3,), which of its vectors repeat.
        rule: of the model.
        hops: of the halo: those of the model, or of its farthest-reaching stage where state is exchanged.
        dividing: of the atoms that a rank owns into parts.
        peers: all ranks.
        exchange: whether they send state to each other.

    Raises:
        HaloclineError: see `build_resident_domain` and `Dividing.divided`.
    """
    frame = Frame.of(cell, pbc)
    regions = regions or Regions.balanced(atoms.positions, frame, peers)
    atoms = settle(atoms, regions, frame, peers)
    domain = build_resident_domain(atoms, cell, pbc, rule, DEFAULT_SKIN, hops, peers, exchange=exchange)
    return Housed(atoms, regions, dividing.divided(atoms, domain, cell, pbc, rule, hops, peers))
