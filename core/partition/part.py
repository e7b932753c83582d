"""One part of a graph: owned atoms and exactly the halo that the receptive field needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Edges


@final
@dataclass(frozen=True, slots=True)
class Part:
    """Atoms ordered by hop level, edges by receiver: every layer works on a prefix.

    Attributes:
        atoms: (n_H,) int64, global ids; owned atoms first, then one hop level after another.
        levels: (n_0, ..., n_H), atoms within each hop level.
        edges: (E,) int64, positions in the global list of edges.
        senders: (E,) int64, local.
        receivers: (E,) int64, local, never decreasing.
        edge_levels: (e_0, ..., e_{H-1}), edges whose receivers lie within each hop level.
        is_whole: whether atoms and edges are those of the whole graph, in its order.
    """

    atoms: NDArray[np.int64]
    levels: tuple[int, ...]
    edges: NDArray[np.int64]
    senders: NDArray[np.int64]
    receivers: NDArray[np.int64]
    edge_levels: tuple[int, ...]
    is_whole: bool = False

    def of_edges(self, values: NDArray[Any]) -> NDArray[Any]:
        """Rows (E, ...) of its edges, of values of all edges; a whole part returns those themselves."""
        return values if self.is_whole else values.take(self.edges, axis=0)

    def widened(self, hops: int) -> Part:
        """The same atoms and edges, with so many hops around the owned atoms counted as owned, too."""
        return replace(self, levels=self.levels[hops:], edge_levels=self.edge_levels[hops:]) if hops else self


def whole(atoms: int, edges: Edges, hops: int) -> Part:
    """All atoms as one part, in their own order."""
    return Part(
        atoms=np.arange(atoms),
        levels=(atoms,) * (hops + 1),
        edges=np.arange(len(edges)),
        senders=edges.senders,
        receivers=edges.receivers,
        edge_levels=(len(edges),) * hops,
        is_whole=True,
    )


def cut_part(owned: NDArray[np.bool_], edges: Edges, hops: int) -> Part:
    """Build the part that owns the given atoms.

    Args:
        owned: (N,) whether this part owns each atom.
        edges: of the whole graph.
        hops: the receptive field of the model.
    """
    return Cutter(edges, len(owned)).cut(np.flatnonzero(owned), hops)


@final
class Cutter:
    """Cuts parts out of one graph; after the first, each takes time in proportion to its own size.

    Args:
        edges: of the whole graph.
        atoms: N.
    """

    def __init__(self, edges: Edges, atoms: int) -> None:
        self._edges = edges
        self._starts = np.searchsorted(edges.receivers, np.arange(atoms + 1))
        self._place = np.full(atoms, -1)

    def cut(self, owned: NDArray[np.int64], hops: int) -> Part:
        """Build the part that owns the given atoms.

        Args:
            owned: (n_0,) int64, increasing.
            hops: the receptive field of the model.
        """
        levels, edges, frontier = [owned], [np.empty(0, np.int64)], owned
        reached = self._add(owned, 0)
        for _ in range(hops):
            edges.append(ranges(self._starts[frontier], self._starts[frontier + 1]))
            senders = self._edges.senders[edges[-1]]
            frontier = np.unique(senders[self._place[senders] < 0])
            reached = self._add(frontier, reached)
            levels.append(frontier)
        part = self._assemble(levels, edges)
        self._place[part.atoms] = -1
        return part

    def _add(self, atoms: NDArray[np.int64], reached: int) -> int:
        """Number atoms on from those reached so far."""
        self._place[atoms] = np.arange(reached, reached + len(atoms))
        return reached + len(atoms)

    def _assemble(self, levels: list[NDArray[np.int64]], edges: list[NDArray[np.int64]]) -> Part:
        """Each level's receivers follow those of the level before it, so edges are in order already."""
        atoms, kept = np.concatenate(levels), np.concatenate(edges)
        return Part(
            atoms=atoms,
            levels=_totals(levels),
            edges=kept,
            senders=self._place[self._edges.senders[kept]],
            receivers=self._place[self._edges.receivers[kept]],
            edge_levels=_totals(edges)[1:],
        )


def ranges(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """All numbers of each range, one range after another."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)


def _totals(pieces: list[NDArray[np.int64]]) -> tuple[int, ...]:
    """Lengths of the first piece, of the first two, and so on."""
    return tuple(int(n) for n in np.cumsum([len(piece) for piece in pieces]))
