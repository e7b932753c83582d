"""Domains that ranks build by themselves: each says where its atoms are, and gets those around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.resident.frame import Frame
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.peers import Peers
from halocline.errors import UsageError
from halocline.graph import Edges, NeighbourRule, Structure
from halocline.graph.radius import edges_among, images_of, refuse_crowds, refuse_small_cells, widened
from halocline.graph.rules import is_ranked, reach
from halocline.partition import Cutter, Domain, domain_of


@final
@dataclass(frozen=True, slots=True)
class ResidentDomain:
    """A domain, and whose atoms its halo has.

    Attributes:
        domain: what is held. Its own sends and receives are of state at borders, and empty where halos are
            recomputed.
        sends: for each rank, the rows of atoms of this rank that it holds copies of.
        receives: for each rank, the halo rows that are copies of its atoms, in the order in which it sends them.
    """

    domain: Domain
    sends: tuple[NDArray[np.int64], ...]
    receives: tuple[NDArray[np.int64], ...]

    def positions(self, owned: NDArray[np.float64], peers: Peers) -> NDArray[np.float64]:
        """Of all n atoms of the domain, (n, 3) Å, where each rank knows its own.

        Raises:
            LostPeerError: another rank has ended, or hangs.
        """
        rows = np.empty((len(self.domain.atoms), 3))
        rows[: self.domain.owned] = owned
        found = peers.swap([owned[some] for some in self.sends], [len(some) for some in self.receives])
        for halo, arrived in zip(self.receives, found, strict=True):
            rows[halo] = arrived
        return rows

    def forces(self, rows: NDArray[np.float64], peers: Peers) -> NDArray[np.float64]:
        """On the atoms of this rank, (owned, 3) eV/Å: all that ranks do to them, added up in the order of ranks.

        Args:
            rows: (n, 3) eV/Å, what the energies of this rank do to all atoms of the domain.
            peers: all ranks.

        Raises:
            LostPeerError: another rank has ended, or hangs.
        """
        forces = rows[: self.domain.owned].copy()
        found = peers.swap([rows[halo] for halo in self.receives], [len(some) for some in self.sends])
        for some, arrived in zip(self.sends, found, strict=True):
            forces[some] += arrived  # a rank names no row twice
        return forces


def build_resident_domain(
    atoms: OwnedAtoms,
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    rule: NeighbourRule,
    skin: float,
    hops: int,
    peers: Peers,
    *,
    exchange: bool = False,
) -> ResidentDomain:
    """Build the domain of this rank, in time and memory that go with its own atoms and those around them.

    It is the domain that `build_domains` cuts out of the whole structure's list for the same owners, in the same
    order: which ranks own what, and from where atoms came, leaves no trace in edges.

    Args:
        atoms: of this rank. They may be anywhere; the nearer together, the fewer others are held with them.
        cell: (3, 3) Å.
        pbc: (3,), which of its vectors repeat.
        rule: of the model.
        skin: Å, by which candidates may be longer than the cutoff.
        hops: of the halo: those of the model, or of its farthest-reaching stage where state is exchanged.
        peers: all ranks.
        exchange: whether ranks send state to each other.

    Raises:
        UsageError: neighbours may be however far.
        StructureError: atoms so close together that positions or cell must be a mistake.
        LostPeerError: another rank has ended, or hangs.
    """
    if reach(rule) == math.inf:
        raise UsageError(
            "A model of nearest neighbours without a cutoff cannot be evaluated by ranks that hold their atoms: "
            "there is no distance within which neighbours lie. Let ASE move the atoms."
        )
    frame = Frame.of(cell, pbc)
    held_hops = hops + is_ranked(rule)
    boxes = _Boxes.gathered(atoms.positions, frame, peers)
    length = widened(reach(rule) + skin, boxes.farthest, frame.lattice)
    refuse_small_cells(frame.lattice, length)
    arrived = peers.swap(_leaving(atoms, boxes, held_hops * length, frame, peers.rank))
    held, owner = atoms.merged(arrived), _owners(arrived)
    structure = Structure(held.numbers, held.positions, cell, pbc, held.conditions)
    candidates, partners = _search(
        structure, reach(rule) + skin, length, frame, boxes.low[peers.rank], boxes.high[peers.rank], held_hops
    )
    piece = Cutter(candidates, len(held)).cut(np.flatnonzero(owner == peers.rank), held_hops)
    nothing = (np.empty(0, np.int64),) * peers.size
    parts = np.zeros(piece.levels[0], np.int64)
    domain = domain_of(piece, structure, candidates, partners, parts, hops, sends=nothing, receives=nothing)
    domain = replace(domain, atoms=held.ids[piece.atoms])
    halo_owner = owner[piece.atoms[domain.owned :]]
    receives = [domain.owned + np.flatnonzero(halo_owner == rank) for rank in range(peers.size)]

    def sent(receives: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], ...]:
        asked = peers.swap([domain.atoms[halo] for halo in receives])
        return tuple(np.searchsorted(atoms.ids, ids) for ids in asked)

    if exchange:  # of what is held only for the ranks of candidates, no state is asked for
        near = tuple(halo[halo < piece.levels[hops]] for halo in receives)
        domain = replace(domain, sends=sent(near), receives=near)
    return ResidentDomain(domain, sent(receives), tuple(receives))


@final
class _Boxes(NamedTuple):
    """Where the atoms of P ranks are.

    Attributes:
        low: (P, 3), lower faces, in wrapped coordinates; infinite where a rank has no atoms.
        high: (P, 3), upper faces; minus infinity likewise.
        farthest: Å, the largest component of any position.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    farthest: float

    @classmethod
    def gathered(cls, positions: NDArray[np.float64], frame: Frame, peers: Peers) -> Self:
        wrapped = frame.wrapped(positions)
        low, high = wrapped.min(axis=0, initial=np.inf), wrapped.max(axis=0, initial=-np.inf)
        each = peers.gathered(np.array([*low, *high, np.abs(positions).max(initial=0.0)]))
        return cls(each[:, :3], each[:, 3:6], float(each[:, 6].max()))


def _leaving(
    atoms: OwnedAtoms, boxes: _Boxes, distance: float, frame: Frame, rank: int
) -> list[NDArray[np.int64]]:
    """For each rank, the atoms of this one of which an image may be within a distance of one of its own."""
    rows, wrapped = atoms.packed(), frame.wrapped(atoms.positions)
    margins = distance / frame.heights
    low, high = boxes.low - margins, boxes.high + margins
    near = _meets(boxes.low[rank], boxes.high[rank], low, high, frame.repeats)
    return [
        rows if other == rank
        else rows[_meets(wrapped, wrapped, low[other], high[other], frame.repeats)] if near[other]
        else rows[:0]
        for other in range(len(low))
    ]  # fmt: skip


def _meets(
    first: NDArray[np.float64],
    last: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    repeats: int,
) -> NDArray[np.bool_]:
    """Whether boxes (..., 3) from first to last, or images of them, meet those from low to high."""
    steps = np.floor(high - first)[..., :repeats] >= np.ceil(low - last)[..., :repeats]
    across = (first <= high)[..., repeats:] & (last >= low)[..., repeats:]
    return np.asarray(steps.all(axis=-1) & across.all(axis=-1))


def _owners(arrived: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The rank from which each atom came, in the order of ids."""
    ranks = np.repeat(np.arange(len(arrived)), [len(rows) for rows in arrived])
    return ranks[np.argsort(np.concatenate([rows[:, 0] for rows in arrived]))]


def _search(
    structure: Structure,
    cutoff: float,
    length: float,
    frame: Frame,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    hops: int,
) -> tuple[Edges, NDArray[np.int64]]:
    """All candidates of the atoms within one hop less than are held, and their opposites if those are there.

    Each atom stands for its image that is nearest to the box of the owned ones: if some image is within so many
    hops of these, that one's neighbours are all held.

    Args:
        structure: what is held.
        cutoff: Å, skin included.
        length: Å, that and what rounding may do.
        frame: of the structure.
        low: (3,), lower faces of the box around owned atoms; infinite if there are none.
        high: (3,), upper faces.
        hops: how far atoms are held.
    """
    if not hops or not (low <= high).all():
        nobody = np.empty(0, np.int64)
        return Edges(nobody, nobody, np.empty((0, 3), np.int64)), nobody
    lattice, repeats, coordinates = frame.lattice, frame.repeats, frame.coordinates(structure.positions)
    steps = -np.rint(coordinates - 0.5 * (low + high))[:, :repeats].astype(np.int64)
    coordinates[:, :repeats] += steps
    off = np.maximum(np.maximum(low - coordinates, coordinates - high), 0.0) * frame.heights
    inner = off.max(axis=1) <= (hops - 1) * length + (length - cutoff)
    receivers = np.flatnonzero(inner)
    points = structure.positions + steps @ lattice.vectors
    refuse_crowds(points, receivers, lattice, length)
    box = coordinates[receivers].min(axis=0), coordinates[receivers].max(axis=0)
    images = images_of(points, steps, lattice, structure.pbc, length, box)
    edges = edges_among(images, structure, cutoff, receivers)
    paired = np.flatnonzero(inner[edges.senders])
    partners = np.arange(len(edges))
    partners[paired] = paired[edges.take(paired).partners()]
    return edges, partners
