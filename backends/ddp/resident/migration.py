"""Atoms go to the rank in whose region they are."""

from __future__ import annotations

import numpy as np

from halocline.backends.ddp.resident.frame import Frame
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.peers import Peers
from halocline.backends.ddp.resident.regions import Regions


def settle(atoms: OwnedAtoms, regions: Regions, frame: Frame, peers: Peers) -> OwnedAtoms:
    """Hand over the atoms that are in others' regions, with all of their state, and take in those of this one.

    Args:
        atoms: of this rank; those of all ranks together are the structure.
        regions: of the ranks.
        frame: of the structure.
        peers: all ranks.

    Returns:
        The atoms in this rank's region. All that they have is kept to the bit.
    """
    owners = regions.owners(frame.wrapped(atoms.positions))
    rows = atoms.packed()
    return atoms.merged(peers.swap([rows[np.flatnonzero(owners == rank)] for rank in range(peers.size)]))
