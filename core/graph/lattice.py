"""Short, nearly orthogonal lattice vectors for the same lattice."""

from __future__ import annotations

import functools
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.structure import Structure

#: Vectors whose heights are at least this part of their lengths are left as they are.
UPRIGHT = 0.5

#: Lovász's factor: how much shorter a vector must be to come earlier. Below one, so that the reduction ends.
LOVASZ = 0.75


@final
class Lattice(NamedTuple):
    """The repeats of a structure, by vectors that are no more skewed than they must be.

    Attributes:
        vectors: (n, 3) Å, n = 0 to 3.
        transform: (n, n) int64; vectors = transform · the vectors that were given.
        inverse: (3, n) per Å; positions · inverse are coordinates in units of the vectors. Its columns
            are as long as one over the heights.
    """

    vectors: NDArray[np.float64]
    transform: NDArray[np.int64]
    inverse: NDArray[np.float64]

    @property
    def heights(self) -> NDArray[np.float64]:
        """Distances (n,) in Å between opposite faces of the cell."""
        return np.asarray(1.0 / np.linalg.norm(self.inverse, axis=0))


def lattice_of(structure: Structure) -> Lattice:
    """The reduced lattice of a structure; while the cell stays, it is the same object, to be left as it is."""
    return _known(structure.cell.tobytes(), structure.pbc.tobytes())


@functools.lru_cache(maxsize=16)
def _known(cell: bytes, pbc: bytes) -> Lattice:
    return reduced_lattice(np.frombuffer(cell).reshape(3, 3)[np.frombuffer(pbc, np.bool_)])


def reduced_lattice(vectors: NDArray[np.float64]) -> Lattice:
    """Reduce independent lattice vectors (n, 3), Å.

    A cell may be as skewed as its author liked. Its heights then say nothing of how far apart atoms and their
    images are, and a search that goes by them looks at millions of images for one neighbour.
    """
    lattice = _lattice(vectors, np.eye(len(vectors), dtype=np.int64))
    if (lattice.heights >= UPRIGHT * np.linalg.norm(vectors, axis=1)).all():
        return lattice
    return _lattice(vectors, _reduction(vectors))


def _lattice(vectors: NDArray[np.float64], transform: NDArray[np.int64]) -> Lattice:
    short = transform @ vectors
    lengths = np.linalg.norm(short, axis=1)
    # Of vectors of one length: beside one a billion times longer, a short one would lose its inverse in rounding.
    inverse = np.linalg.pinv(short / lengths[:, None]) / lengths
    return Lattice(short, transform, np.asarray(inverse, dtype=np.float64))


def _reduction(vectors: NDArray[np.float64]) -> NDArray[np.int64]:
    """The unimodular transform of Lenstra, Lenstra and Lovász, Math. Ann. 261 (1982) 515."""
    transform = np.eye(len(vectors), dtype=np.int64)
    row = 1
    while row < len(vectors):
        for earlier in reversed(range(row)):
            upper = _upper(transform @ vectors)
            transform[row] -= np.int64(np.rint(upper[earlier, row] / upper[earlier, earlier])) * transform[earlier]
        upper = _upper(transform @ vectors)
        before, along, rest = upper[row - 1, row - 1], upper[row - 1, row], upper[row, row]
        if rest**2 + along**2 >= LOVASZ * before**2:
            row += 1
        else:
            transform[[row - 1, row]] = transform[[row, row - 1]]
            row = max(row - 1, 1)
    return transform


def _upper(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Components (n, n) of the vectors, in columns, along orthonormal axes that follow them one by one."""
    return np.asarray(np.linalg.qr(vectors.T, mode="r"))
