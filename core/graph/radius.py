"""All pairs within a cutoff, for every kind of cell.

Time and memory grow with atoms and pairs alone. There is no grid over the cell, as cells may be a billion
times longer than wide or almost empty: a tree is as deep as there are atoms, wherever they are. In small
structures compiled code holds all atoms against all images, which finds the same pairs in the same order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from halocline.errors import StructureError
from halocline.graph.all_pairs import radius_edges_of_few
from halocline.graph.graph import Edges, squared_lengths
from halocline.graph.lattice import Lattice, lattice_of
from halocline.graph.structure import Structure

#: Refuse cells with more images of one atom within the cutoff than this: the cell or its unit is a mistake.
MOST_IMAGES = 50_000

#: Refuse structures with more neighbours per atom than this. Diamond has 1300 within 12 Å.
MOST_NEIGHBOURS = 5_000

#: What costs no more than this many edges in all is let through: small structures can have long cutoffs.
FREE_EDGES = 50_000_000

#: Searched a little wider than asked (relative), then cut exactly, so that rounding in the search decides nothing.
MARGIN = 1e-6

#: Wider still by this many roundings of the longest length: wrapping and images are off by up to 130 of them, as
#: measured on 20 000 cells of aspects up to 1e8.
ROUNDINGS = 256

#: Atoms whose neighbours are found at once. Arrays of a few thousand atoms' pairs stay near the processor, and
#: beside the edges themselves little memory is needed.
AT_ONCE = 4096

#: Multipliers that spread bins over 64 bits, so that bins of any number have keys that differ.
_SPREAD = np.array([0x1F3D5B79A2C4E687, 0x27D4EB2F165667C5, 0x165667B19E3779F9], dtype=np.int64)


class Images(NamedTuple):
    """The atoms in one cell, and their images as far as they can be neighbours of these.

    Attributes:
        points: (M, 3) Å.
        atoms: (M,) int64, whose image each is.
        shifts: (M, 3) int64, lattice vectors of the structure that lead there from where the atom is given.
        home: (N,) int64, which of the points is the atom itself, brought into the cell.
        reach: Å, how near two points have to be to be looked at: the cutoff, and all that rounding may do.
    """

    points: NDArray[np.float64]
    atoms: NDArray[np.int64]
    shifts: NDArray[np.int64]
    home: NDArray[np.int64]
    reach: float


def radius_edges(structure: Structure, cutoff: float, receivers: NDArray[np.int64] | None = None) -> Edges:
    """Find every pair nearer than ``cutoff`` (Å), in both directions.

    Args:
        structure: N atoms.
        cutoff: Å.
        receivers: atoms, in increasing order, whose neighbours are wanted; all by default.

    Raises:
        StructureError: so many neighbours that positions, cell or cutoff must be a mistake.
    """
    if receivers is None:
        lattice = lattice_of(structure)
        reach = _reach(structure, lattice, cutoff)
        refuse_small_cells(lattice, reach)
        few = radius_edges_of_few(structure, cutoff, lattice, reach)
        if few is not None:
            return few
    wanted = np.arange(len(structure)) if receivers is None else receivers
    return edges_among(images_within(structure, cutoff, wanted), structure, cutoff, wanted)


def edges_among(images: Images, structure: Structure, cutoff: float, receivers: NDArray[np.int64]) -> Edges:
    """Find the edges of some atoms whose neighbours are all among some images.

    Args:
        images: of the N atoms.
        structure: these.
        cutoff: Å.
        receivers: in increasing order.
    """
    tree = KDTree(images.points)
    parts = np.split(receivers, range(AT_ONCE, len(receivers), AT_ONCE))
    return Edges.joined([_edges_of(some, structure, images, tree, cutoff) for some in parts])


def images_within(structure: Structure, cutoff: float, receivers: NDArray[np.int64]) -> Images:
    """Bring atoms into one cell, and surround them with images as far as the cutoff.

    Args:
        structure: N atoms.
        cutoff: Å.
        receivers: atoms whose neighbours are wanted.

    Raises:
        StructureError: as for `radius_edges`.
    """
    lattice = lattice_of(structure)
    reach = _reach(structure, lattice, cutoff)
    refuse_small_cells(lattice, reach)
    steps = -np.floor(structure.positions @ lattice.inverse).astype(np.int64)
    points = structure.positions + steps @ lattice.vectors
    refuse_crowds(points, receivers, lattice, reach)
    return images_of(points, steps, lattice, structure.pbc, reach, (np.zeros(3), np.ones(3)))


def _reach(structure: Structure, lattice: Lattice, cutoff: float) -> float:
    """See `Images.reach`."""
    return widened(cutoff, float(np.abs(structure.positions).max()), lattice)


def widened(cutoff: float, farthest: float, lattice: Lattice) -> float:
    """How near points must be to be looked at, where no component of a position is larger; all in Å."""
    longest = max(farthest, float(np.abs(lattice.vectors).max(initial=0.0)))
    return cutoff * (1.0 + MARGIN) + ROUNDINGS * float(np.spacing(longest))


def _edges_of(
    receivers: NDArray[np.int64], structure: Structure, images: Images, tree: KDTree, cutoff: float
) -> Edges:
    """All edges of some receivers, in canonical order."""
    home = images.home[receivers]
    pairs = KDTree(images.points[home]).sparse_distance_matrix(tree, images.reach, output_type="ndarray")
    local, there = pairs["i"].astype(np.int64), pairs["j"].astype(np.int64)
    del pairs
    others = home[local] != there
    local, there = local[others], there[others]
    shifts = images.shifts[there]
    shifts -= images.shifts[home][local]
    edges = Edges(receivers[local], images.atoms[there], shifts)
    vectors = edges.vectors(structure)
    inside = squared_lengths(vectors) < cutoff**2
    return (edges if inside.all() else edges[inside]).sorted()


def images_of(
    points: NDArray[np.float64],
    steps: NDArray[np.int64],
    lattice: Lattice,
    pbc: NDArray[np.bool_],
    reach: float,
    box: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Images:
    """The atoms, and those images of them that are within reach of a box, such as the cell.

    Args:
        points: (N, 3) Å, in or near the box.
        steps: (N, n), vectors of the lattice that brought them there.
        lattice: n vectors.
        pbc: (3,), to which directions of the structure they belong.
        reach: Å.
        box: its lower and upper faces, (n,) or more, in units of the vectors.
    """
    atoms, home = np.arange(len(points)), np.ones(len(points), dtype=np.bool_)
    for axis, (vector, height) in enumerate(zip(lattice.vectors, lattice.heights, strict=True)):
        low, high = box[0][axis], box[1][axis]
        place = points @ lattice.inverse[:, axis]
        # Rounding may put an atom just outside of the cell; it is there all the same.
        lowest = np.minimum(np.ceil(low - reach / height - place).astype(np.int64), 0)
        counts = np.maximum(np.floor(high + reach / height - place).astype(np.int64), 0) - lowest + 1
        source = np.repeat(np.arange(len(points)), counts)
        step = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts - lowest, counts)
        points = points[source] + step[:, None] * vector
        atoms, steps, home = atoms[source], steps[source], home[source] & (step == 0)
        steps[:, axis] += step
    shifts = np.zeros((len(points), 3), np.int64)
    shifts[:, pbc] = steps @ lattice.transform
    return Images(points, atoms, shifts, np.flatnonzero(home), reach)


def _images_within(lattice: Lattice, reach: float) -> float:
    """About how many images of an atom lie within reach of it, itself included."""
    return math.prod(max(1.0, 2.0 * reach / float(height)) for height in lattice.heights)


def refuse_small_cells(lattice: Lattice, reach: float) -> None:
    """Look at the cell alone, before positions are counted in its vectors."""
    images = _images_within(lattice, reach)
    if images > MOST_IMAGES:
        raise StructureError(
            f"The periodic cell is far too small: about {images:.2g} images of each atom lie within {reach:.3g} Å "
            "of it. Check the cell and its unit (Å)."
        )


def refuse_crowds(
    points: NDArray[np.float64], receivers: NDArray[np.int64], lattice: Lattice, reach: float
) -> None:
    """Estimate the number of edges before the search allocates them."""
    images, most = _images_within(lattice, reach), max(FREE_EDGES, MOST_NEIGHBOURS * len(receivers))
    if images * len(points) * len(receivers) <= most:
        return
    # Atoms in bins as long as the reach. A bin's number may exceed 64 bits, which its key need not hold.
    keys = np.floor(points / reach).astype(np.int64) @ _SPREAD
    _, bins, crowds = np.unique(keys, return_inverse=True, return_counts=True)
    edges = images * float(crowds[bins[receivers]].sum())
    if edges > most:
        raise StructureError(
            f"The atoms are far too close together: about {edges / len(receivers):.2g} neighbours of each lie "
            f"within {reach:.3g} Å. Check positions and cell, and their unit (Å)."
        )
