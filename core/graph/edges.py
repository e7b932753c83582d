"""Directed edges between neighbours, in one canonical order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.structure import Structure


@final
@dataclass(frozen=True, slots=True)
class Edges:
    """Directed edges from sender to receiver, sorted by receiver, then sender, then shift.

    The order depends only on the set of edges, never on how it was found. Sums over neighbours are
    therefore bit-equal however often the list was rebuilt, which exact restarts rely on.

    Attributes:
        receivers: (E,) int64, the atom that sums the message.
        senders: (E,) int64, the neighbour it comes from.
        shifts: (E, 3) int64, the lattice vectors added to the sender's position.
    """

    receivers: NDArray[np.int64]
    senders: NDArray[np.int64]
    shifts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.receivers)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Edges:
        """Select edges; an increasing selection keeps the order."""
        return Edges(self.receivers[index], self.senders[index], self.shifts[index])

    def sorted(self) -> Edges:
        """Return the same edges in canonical order."""
        x, y, z = self.shifts.T
        return self[np.lexsort((z, y, x, self.senders, self.receivers))]

    def vectors(self, structure: Structure) -> NDArray[np.float64]:
        """Vectors from receiver to sender, (E, 3) in Å: r_sender - r_receiver + shift · cell."""
        # Rows of the cell along open directions may be anything, even infinite; their shifts are zero.
        cell = np.where(structure.pbc[:, None], structure.cell, 0.0)
        positions = structure.positions
        return positions[self.senders] - positions[self.receivers] + self.shifts @ cell
