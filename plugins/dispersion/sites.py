"""Atoms in one cell and the lattice vectors that lead to their images: what sums over pairs loop over."""

from __future__ import annotations

from typing import Final, NamedTuple, final

import numpy as np
from ase.units import Bohr
from numpy.typing import NDArray

from halocline.errors import StructureError
from halocline.graph import Structure
from halocline.graph.lattice import reduced_lattice

#: Atoms are grouped by cubes of this edge in Bohr, of which those beyond the cutoff are left out as a whole.
CUBE: Final = 15.0

#: Refuse cells with more lattice vectors within the cutoff than this: the cell or its unit is a mistake. The
#: primitive cell of diamond has 11 000 within 32 Å.
MOST_VECTORS: Final = 2_000_000


@final
class Sites(NamedTuple):
    """N atoms in the order of S groups, in Bohr.

    Attributes:
        positions: (N, 3), within one cell.
        species: (N,) int64, places in ``numbers``.
        numbers: (S,) int64, the atomic numbers that there are.
        order: (N,) int64, which atom of the structure each is.
        starts: (G + 1,) int64, where each group begins, and the end.
        boxes: (G + 1, 6), lowest and highest coordinates of each group, and of all.
        vectors: (T, 3), lattice vectors; the zero vector is one of them.
        home: which of them is the zero vector.
    """

    positions: NDArray[np.float64]
    species: NDArray[np.int64]
    numbers: NDArray[np.int64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    boxes: NDArray[np.float64]
    vectors: NDArray[np.float64]
    home: int

    @classmethod
    def of(cls, structure: Structure, cutoff: float) -> Sites:
        """Of a structure, as far as atoms within a cutoff (Bohr) of each other need.

        Raises:
            StructureError: the cell is far too small.
        """
        lattice = reduced_lattice(structure.cell[structure.pbc] / Bohr)
        positions = structure.positions / Bohr
        steps = np.floor(positions @ lattice.inverse)
        positions = positions - steps @ lattice.vectors
        cubes = np.floor((positions - positions.min(axis=0)) / CUBE).astype(np.int64)
        order = np.lexsort(cubes.T)
        cubes, positions = cubes[order], np.ascontiguousarray(positions[order])
        first = np.flatnonzero((np.diff(cubes, axis=0) != 0).any(axis=1)) + 1
        starts = np.concatenate([[0], first, [len(order)]])
        boxes = [np.minimum.reduceat(positions, starts[:-1]), np.maximum.reduceat(positions, starts[:-1])]
        ends = np.concatenate([boxes[0].min(axis=0), boxes[1].max(axis=0)])
        vectors = _vectors(lattice.vectors, lattice.heights, ends[3:] - ends[:3], cutoff)
        numbers, species = np.unique(structure.numbers[order], return_inverse=True)
        return cls(
            positions,
            species.astype(np.int64),
            numbers,
            order,
            starts.astype(np.int64),
            np.concatenate([np.hstack(boxes), ends[None]]),
            vectors,
            int(np.flatnonzero((vectors == 0.0).all(axis=1))[0]),
        )


def _vectors(
    lattice: NDArray[np.float64], heights: NDArray[np.float64], extent: NDArray[np.float64], cutoff: float
) -> NDArray[np.float64]:
    """Lattice vectors (T, 3) that may bring an image within the cutoff of an atom.

    Args:
        lattice: (n, 3).
        heights: (n,), of the cell.
        extent: (3,), of all atoms in the cell.
        cutoff: all in Bohr.
    """
    if not len(lattice):
        return np.zeros((1, 3))
    most = np.floor(cutoff / heights + 1.0)
    count = float(np.prod(2.0 * most + 1.0))
    if count > MOST_VECTORS:
        raise StructureError(
            f"The periodic cell is far too small: about {count:.2g} images of each atom lie within "
            f"{cutoff * Bohr:.3g} Å of it. Check the cell and its unit (Å)."
        )
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1.0) for n in most), indexing="ij"), axis=-1)
    vectors = steps.reshape(-1, len(lattice)) @ lattice
    gaps = np.maximum(np.abs(vectors) - extent, 0.0)
    return np.ascontiguousarray(vectors[np.einsum("ij,ij->i", gaps, gaps) <= cutoff**2])
