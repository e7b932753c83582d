"""One part of a graph: owned atoms and exactly the halo that the receptive field needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

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
    """

    atoms: NDArray[np.int64]
    levels: tuple[int, ...]
    edges: NDArray[np.int64]
    senders: NDArray[np.int64]
    receivers: NDArray[np.int64]
    edge_levels: tuple[int, ...]


def whole(atoms: int, edges: Edges, hops: int) -> Part:
    """All atoms as one part, in their own order."""
    return Part(
        atoms=np.arange(atoms),
        levels=(atoms,) * (hops + 1),
        edges=np.arange(len(edges)),
        senders=edges.senders,
        receivers=edges.receivers,
        edge_levels=(len(edges),) * hops,
    )


def cut_part(owned: NDArray[np.bool_], edges: Edges, hops: int) -> Part:
    """Build the part that owns the given atoms.

    Args:
        owned: (N,) whether this part owns each atom.
        edges: of the whole graph.
        hops: the receptive field of the model.
    """
    distance = _hop_distance(owned, edges, hops)
    atoms = np.flatnonzero(distance <= hops)
    atoms = atoms[np.argsort(distance[atoms], kind="stable")]
    levels = np.cumsum(np.bincount(distance[atoms], minlength=hops + 1))
    local = np.full(len(owned), -1)
    local[atoms] = np.arange(len(atoms))
    kept = np.flatnonzero(distance[edges.receivers] < hops)
    kept = kept[np.argsort(local[edges.receivers[kept]], kind="stable")]
    receivers = local[edges.receivers[kept]]
    return Part(
        atoms=atoms,
        levels=tuple(int(n) for n in levels),
        edges=kept,
        senders=local[edges.senders[kept]],
        receivers=receivers,
        edge_levels=tuple(int(e) for e in np.searchsorted(receivers, levels[:-1])),
    )


def _hop_distance(owned: NDArray[np.bool_], edges: Edges, hops: int) -> NDArray[np.int64]:
    """Hops from the owned atoms, walking from receivers to senders; hops + 1 if farther."""
    distance = np.where(owned, 0, hops + 1)
    for hop in range(1, hops + 1):
        reached = edges.senders[distance[edges.receivers] < hop]
        distance[reached] = np.minimum(distance[reached], hop)
    return distance
