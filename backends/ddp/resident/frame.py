"""Where atoms are, counted in lattice vectors and, where a structure is open, in Å."""

from __future__ import annotations

from typing import NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.lattice import Lattice, reduced_lattice


@final
class Frame(NamedTuple):
    """Coordinates of which the first n count the n vectors of a reduced lattice, and the others Å across them.

    Attributes:
        lattice: n vectors.
        inverse: (3, 3); coordinates = positions · inverse.
        heights: (3,) Å, by how much two places differ at least whose coordinates differ by one.
    """

    lattice: Lattice
    inverse: NDArray[np.float64]
    heights: NDArray[np.float64]

    @classmethod
    def of(cls, cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> Self:
        """The frame of a cell (3, 3) in Å, of which some vectors (3,) repeat."""
        lattice = reduced_lattice(cell[pbc])
        repeats = len(lattice.vectors)
        across = np.linalg.qr(lattice.vectors.T, mode="complete")[0][:, repeats:] if repeats else np.eye(3)
        heights = np.concatenate([lattice.heights, np.ones(3 - repeats)])
        return cls(lattice, np.concatenate([lattice.inverse, across], axis=1), heights)

    @property
    def repeats(self) -> int:
        """How many of the coordinates are periodic."""
        return len(self.lattice.vectors)

    def coordinates(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of positions (n, 3) in Å, as they are.

        One product at a time: in a matrix product, rounding depends on where a row stands, and so it would depend
        on who holds an atom.
        """
        x, y, z = (positions[:, [axis]] * self.inverse[axis] for axis in range(3))
        return np.asarray(x + y + z)

    def wrapped(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates (n, 3), of which the periodic ones are brought to between 0 and 1."""
        coordinates = self.coordinates(positions)
        periodic = coordinates[:, : self.repeats]
        periodic -= np.floor(periodic)
        return coordinates
