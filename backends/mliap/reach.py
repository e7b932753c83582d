"""What a rank of LAMMPS evaluates: found from the neighbours of its own atoms, listed as far as a model sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Edges
from halocline.partition import Part
from halocline.partition.part import ranges

#: In the place of a pair where an edge has none.
NONE = -1


@final
@dataclass(frozen=True, slots=True)
class Pairs:
    """Which atoms each owned atom sees.

    Attributes:
        receivers: (P,) int64, owned atoms.
        senders: (P,) int64, owned atoms and ghosts.
        vectors: (P, 3) float64, Å, from receiver to sender.
    """

    receivers: NDArray[np.int64]
    senders: NDArray[np.int64]
    vectors: NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Reach:
    """The part of a rank, and how its edges are made of pairs.

    An edge between two ghosts is the difference of two pairs by which one owned atom sees them. So gradients by
    edges are gradients by pairs, by the chain rule.

    Attributes:
        atoms: (n,) int64, of LAMMPS, owned ones first, then those that are first met after one hop more.
        part: the same atoms by their places here.
        edges: between them, likewise.
        vectors: (E, 3) Å.
        partners: (E,) int64, the opposite of each edge, or itself where that leads to beyond all rows.
        added: (E,) int64, the pair that leads to the sender; `NONE` where that is the owned atom itself.
        taken: (E,) int64, the pair that leads to the receiver, likewise.
    """

    atoms: NDArray[np.int64]
    part: Part
    edges: Edges
    vectors: NDArray[np.float64]
    partners: NDArray[np.int64]
    added: NDArray[np.int64]
    taken: NDArray[np.int64]

    def of_pairs(self, gradients: NDArray[np.float64], pairs: int) -> NDArray[np.float64]:
        """Gradients by the vectors of pairs, (P, 3), of those by edges, (E, 3), in eV/Å."""
        found = np.empty((pairs, 3))
        to, back = self.added != NONE, self.taken != NONE
        for axis in range(3):
            found[:, axis] = np.bincount(self.added[to], gradients[to, axis], pairs)
            found[:, axis] -= np.bincount(self.taken[back], gradients[back, axis], pairs)
        return found


@final
@dataclass(frozen=True, slots=True)
class _Row:
    """Edges by atoms of LAMMPS; see `Reach`."""

    receivers: NDArray[np.int64]
    senders: NDArray[np.int64]
    added: NDArray[np.int64]
    taken: NDArray[np.int64]


def reach(pairs: Pairs, owned: int, total: int, cutoff: float, hops: int) -> Reach:
    """Begin with the owned atoms and take in whatever is closer than the cutoff to what there is, hop by hop.

    Args:
        pairs: closer than ``hops`` times the cutoff, all of them.
        owned: how many atoms are owned: the first ones.
        total: with ghosts.
        cutoff: Å, of the model's edges.
        hops: of the model.
    """
    order = np.argsort(pairs.receivers, kind="stable")
    starts = np.searchsorted(pairs.receivers[order], np.arange(owned + 1))
    place, seen_by = np.full(total, NONE), np.full(total, NONE)
    place[:owned] = np.arange(owned)
    levels, rows, frontier = [np.arange(owned)], [], np.arange(owned)
    for hop in range(hops):
        row = (
            _of_ghosts(pairs, order, starts, frontier, seen_by[frontier], cutoff)
            if hop
            else _of_owned(pairs, cutoff)
        )
        rows.append(row)
        new = place[row.senders] < 0
        frontier, first = np.unique(row.senders[new], return_index=True)
        place[frontier] = place.max() + 1 + np.arange(len(frontier))
        seen_by[frontier] = row.added[new][first]
        levels.append(frontier)
    return _assembled(pairs, levels, rows, place)


def _of_owned(pairs: Pairs, cutoff: float) -> _Row:
    near = np.flatnonzero(np.einsum("ij,ij->i", pairs.vectors, pairs.vectors) < cutoff * cutoff)
    return _Row(pairs.receivers[near], pairs.senders[near], near, np.full(len(near), NONE))


def _of_ghosts(
    pairs: Pairs,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    ghosts: NDArray[np.int64],
    seen_by: NDArray[np.int64],
    cutoff: float,
) -> _Row:
    """Edges whose receivers are ghosts, among what the owned atom sees by which each was met, and that atom."""
    witnesses = pairs.receivers[seen_by]
    which = np.repeat(np.arange(len(ghosts)), starts[witnesses + 1] - starts[witnesses])
    added, taken = order[ranges(starts[witnesses], starts[witnesses + 1])], seen_by[which]
    vectors = pairs.vectors[added] - pairs.vectors[taken]
    near = (np.einsum("ij,ij->i", vectors, vectors) < cutoff * cutoff) & (added != taken)
    which, added, taken = which[near], added[near], taken[near]
    back = pairs.vectors[seen_by]
    itself = np.flatnonzero(np.einsum("ij,ij->i", back, back) < cutoff * cutoff)
    return _Row(
        np.concatenate([ghosts[which], ghosts[itself]]),
        np.concatenate([pairs.senders[added], witnesses[itself]]),
        np.concatenate([added, np.full(len(itself), NONE)]),
        np.concatenate([taken, seen_by[itself]]),
    )


def _assembled(pairs: Pairs, levels: list[NDArray[np.int64]], rows: list[_Row], place: NDArray[np.int64]) -> Reach:
    atoms = np.concatenate(levels)
    receivers, senders = (
        place[np.concatenate([getattr(row, name) for row in rows])] for name in ("receivers", "senders")
    )
    order = np.lexsort((senders, receivers))  # each hop's receivers follow those of the hop before it
    receivers, senders = receivers[order], senders[order]
    added, taken = (np.concatenate([getattr(row, name) for row in rows])[order] for name in ("added", "taken"))
    # With a row of zeros at the end, for which `NONE` stands.
    of_pairs = np.concatenate([pairs.vectors, np.zeros((1, 3))])
    part = Part(
        atoms=np.arange(len(atoms)),
        levels=tuple(np.cumsum([len(level) for level in levels]).tolist()),
        edges=np.arange(len(order)),
        senders=senders,
        receivers=receivers,
        edge_levels=tuple(np.cumsum([len(row.senders) for row in rows]).tolist()),
    )
    edges = Edges(receivers, senders, np.zeros((len(order), 3), np.int64))
    return Reach(atoms, part, edges, of_pairs[added] - of_pairs[taken], _partners(edges, len(atoms)), added, taken)


def _partners(edges: Edges, atoms: int) -> NDArray[np.int64]:
    """The opposite of each edge, or itself; each image is an atom of its own, so two atoms have one edge."""
    keys, wanted = edges.receivers * atoms + edges.senders, edges.senders * atoms + edges.receivers
    here = np.arange(len(keys))
    found = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
    return np.where(keys[found] == wanted, found, here) if len(keys) else here
