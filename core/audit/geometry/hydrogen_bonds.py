"""Hydrogen bonds: which there are, and their distances and angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.audit.geometry.angles import angle_between
from halocline.audit.geometry.bonds import Surroundings

#: Elements that hydrogen bonds are given by and go to.
_ELECTRONEGATIVE: Final = (7, 8, 9)

#: Å. To water (R. Kumar, J. R. Schmidt and J. L. Skinner, J. Chem. Phys. 126, 204107 (2007)): a bond counts whose
#: occupancy of the σ* orbital of O–H, as R and ψ give it, is at least this much. R is the distance H···O, ψ the
#: angle between it and the normal of the plane of the water that accepts.
_OCCUPANCY: Final = 0.0085
_WATER_REACH: Final = 2.8

#: Å and degrees. To all others (A. Luzar and D. Chandler, Nature 379, 55 (1996)): donor and acceptor are nearer
#: than this, and at the donor the angle between hydrogen and acceptor is less than this. So neighbours of hydrogen
#: must be known to this distance.
REACH: Final = 3.5
_MOST_BENT: Final = 30.0


@final
@dataclass(frozen=True, slots=True)
class HydrogenBonds:
    """The B hydrogen bonds D–H···A of a structure.

    Attributes:
        donors: (B,) int64, atoms D.
        hydrogens: (B,) int64.
        acceptors: (B,) int64, atoms A.
        kinds: (2, B) atomic numbers of donor and acceptor.
        distances: (B,) Å, H···A.
        spans: (B,) Å, D···A.
        angles: (B,) degrees, D–H···A.
        places: (C,) int64, which of the bonds each acceptor's angle belongs to.
        acceptor_kinds: (C,) atomic numbers of what is bonded to the acceptor, X.
        acceptor_angles: (C,) degrees, H···A–X.
    """

    donors: NDArray[np.int64]
    hydrogens: NDArray[np.int64]
    acceptors: NDArray[np.int64]
    kinds: NDArray[np.int64]
    distances: NDArray[np.float64]
    spans: NDArray[np.float64]
    angles: NDArray[np.float64]
    places: NDArray[np.int64]
    acceptor_kinds: NDArray[np.int64]
    acceptor_angles: NDArray[np.float64]


def hydrogen_bonds(surroundings: Surroundings) -> HydrogenBonds:
    """Find the hydrogen bonds of a structure whose neighbours are known to `REACH`.

    Donors and acceptors are N, O and F. Acceptors that are the oxygen of a water molecule are judged by Kumar,
    Schmidt and Skinner's occupancy, all others by Luzar and Chandler's distance and angle.
    """
    numbers, edges = surroundings.structure.numbers, surroundings.edges
    negative = np.isin(numbers, _ELECTRONEGATIVE)
    to_donor = _donor_bonds(surroundings, negative)
    contacts = np.flatnonzero(
        (numbers[edges.receivers] == 1)
        & negative[edges.senders]
        & ~surroundings.bonded
        & (surroundings.lengths < REACH)
        & (to_donor[edges.receivers] >= 0)
    )
    to_hydrogen = to_donor[edges.receivers[contacts]]
    from_hydrogen, donor_vectors = surroundings.vectors[contacts], surroundings.vectors[to_hydrogen]
    spans = np.linalg.norm(from_hydrogen - donor_vectors, axis=1)
    bent = angle_between(-donor_vectors, from_hydrogen - donor_vectors)
    normals = _water_normals(surroundings)
    acceptors = edges.senders[contacts]
    in_water = np.isfinite(normals[acceptors]).all(axis=1)
    lengths = surroundings.lengths[contacts]
    occupied = _occupancy(lengths, from_hydrogen, normals[acceptors]) >= _OCCUPANCY
    counts = np.where(in_water, occupied & (lengths < _WATER_REACH), (spans < REACH) & (bent < _MOST_BENT))
    kept = np.flatnonzero(counts)
    donors = edges.senders[to_hydrogen[kept]]
    places, others, acceptor_angles = _at_acceptors(surroundings, acceptors[kept], from_hydrogen[kept])
    return HydrogenBonds(
        donors=donors,
        hydrogens=edges.receivers[contacts[kept]],
        acceptors=acceptors[kept],
        kinds=np.stack([numbers[donors], numbers[acceptors[kept]]]),
        distances=lengths[kept],
        spans=spans[kept],
        angles=angle_between(donor_vectors[kept], from_hydrogen[kept]),
        places=places,
        acceptor_kinds=numbers[others],
        acceptor_angles=acceptor_angles,
    )


def _donor_bonds(surroundings: Surroundings, negative: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) the edge from each hydrogen to the nearest N, O or F that it is bonded to; -1 of all others."""
    numbers, edges = surroundings.structure.numbers, surroundings.edges
    found = np.flatnonzero(surroundings.bonded & (numbers[edges.receivers] == 1) & negative[edges.senders])
    farthest_first = found[np.argsort(-surroundings.lengths[found], kind="stable")]
    to_donor = np.full(len(numbers), -1, np.int64)
    to_donor[edges.receivers[farthest_first]] = farthest_first  # the nearest is written last
    return to_donor


def _water_normals(surroundings: Surroundings) -> NDArray[np.float64]:
    """(N, 3) a normal of the plane of the water that an oxygen is of; NaN of all other atoms."""
    numbers = surroundings.structure.numbers
    normals = np.full((len(numbers), 3), np.nan)
    bonded = np.flatnonzero(surroundings.bonded & (numbers[surroundings.edges.receivers] == 8))
    edges = surroundings.edges[bonded]
    hydrogens = np.bincount(edges.receivers[numbers[edges.senders] == 1], minlength=len(numbers))
    is_water = (hydrogens == 2) & (np.bincount(edges.receivers, minlength=len(numbers)) == 2)
    bonded = bonded[is_water[edges.receivers]]
    vectors = surroundings.vectors[bonded].reshape(-1, 2, 3)
    normals[surroundings.edges.receivers[bonded[::2]]] = np.cross(vectors[:, 0], vectors[:, 1])
    return normals


def _occupancy(
    lengths: NDArray[np.float64], rays: NDArray[np.float64], normals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Kumar, Schmidt and Skinner's N(R, ψ), with ψ from 0° to 90°, as normals point either way; NaN without."""
    angle = angle_between(rays, normals)
    psi = np.minimum(angle, 180.0 - angle)
    return np.asarray(np.exp(-lengths / 0.343) * (7.1 - 0.05 * psi + 0.00021 * psi**2))


def _at_acceptors(
    surroundings: Surroundings, acceptors: NDArray[np.int64], rays: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Angles H···A–X with all X that are bonded to the acceptor: places among the bonds, atoms X, degrees."""
    bonded = np.flatnonzero(surroundings.bonded)
    receivers = surroundings.edges.receivers[bonded]
    first, last = (np.searchsorted(receivers, acceptors, side) for side in ("left", "right"))
    degrees = last - first
    places = np.repeat(np.arange(len(acceptors)), degrees)
    within = np.arange(len(places)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    edges = bonded[np.repeat(first, degrees) + within]
    angles = angle_between(-rays[places], surroundings.vectors[edges])
    return places, surroundings.edges.senders[edges], angles
