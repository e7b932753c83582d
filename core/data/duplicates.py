"""Structures that appear in more than one set of a split would make its errors look too good."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from halocline.graph import Graph

#: Å; sorted neighbour distances that agree this well belong to one structure. Files round to 1e-8 or coarser.
SAME = 1e-4

#: Frames are compared in full only if this many of their distances agree, evenly spread from shortest to longest.
_PROBES = 8
#: Side of the cells of these distances in which one frame stands for all that are the same, in parts of `SAME`.
_CELL = 1 / 16
#: Bytes that tell elements, or all distances, of frames apart.
_DIGEST_BYTES = 12


def duplicate_groups(graphs: Mapping[int, Graph]) -> list[tuple[int, ...]]:
    """Find the frames that show the same structure; see `Shapes`.

    Args:
        graphs: of the frames, by number.

    Returns:
        Groups of two frames or more, each ascending, in the order of their first frames.
    """
    shapes = Shapes()
    for number, graph in graphs.items():
        shapes.add(number, graph)
    return shapes.groups(graphs)


@final
class Shapes:
    """What is kept of each frame to find those that show the same structure: some 300 bytes, whatever its size.

    Two frames do if they have the same elements and their sorted neighbour distances agree within `SAME`. These do
    not change under rotation, translation or renumbering, and are what the model sees. Frames that are joined by
    others, each like the next, are of one group. Frames without neighbours are never duplicates: they have no
    geometry that could be learnt by heart.
    """

    def __init__(self) -> None:
        #: By elements and number of edges: for each shape its digest → the frames that have it to the bit.
        self._kinds: dict[bytes, dict[bytes, list[int]]] = {}

    def add(self, number: int, graph: Graph) -> None:
        """Take note of a frame."""
        if not len(graph.edges):
            return
        distances = _distances(graph)
        elements = np.sort(graph.structure.numbers).tobytes()
        kind = _digest(elements + len(distances).to_bytes(8, "little"))
        shapes = self._kinds.setdefault(kind, {})
        probes = distances[np.linspace(0, len(distances) - 1, _PROBES).astype(np.int64)]
        shapes.setdefault(probes.tobytes() + _digest(distances.tobytes()), []).append(number)

    def groups(self, graphs: Mapping[int, Graph] | None = None) -> list[tuple[int, ...]]:
        """Groups of two frames or more, each ascending, in the order of their first frames.

        Args:
            graphs: of the frames that were added; those of the few that are nearly alike are asked for. Without,
                frames are alike if as many distances agree as are kept.
        """
        found = (group for shapes in self._kinds.values() for group in _groups(shapes, graphs))
        return sorted(group for group in found if len(group) > 1)


def _groups(shapes: Mapping[bytes, Sequence[int]], graphs: Mapping[int, Graph] | None) -> list[tuple[int, ...]]:
    """Groups among frames of one kind: near in a few distances first, as a tree finds them, then in all."""
    alike = list(shapes.values())
    if len(alike) == 1:
        return [tuple(sorted(alike[0]))]
    probes = np.array([np.frombuffer(shape, np.float64, _PROBES) for shape in shapes])

    def same(a: int, b: int) -> bool:
        if graphs is None:
            return True
        return bool(np.abs(_distances(graphs[alike[a][0]]) - _distances(graphs[alike[b][0]])).max() < SAME)

    # Copies, turned or rounded, differ by far less than `SAME`, and have as many pairs as the square of their
    # number. So the first of a small cell stands for those that are the same.
    cells = np.floor(probes / (_CELL * SAME))
    _, firsts, places = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    stands = firsts[places.ravel()].tolist()
    pairs = [(first, i) for i, first in enumerate(stands) if first != i and same(first, i)]
    kept = np.setdiff1d(np.arange(len(alike)), [i for _, i in pairs])
    near = kept[KDTree(probes[kept]).query_pairs(SAME, p=np.inf, output_type="ndarray")]
    pairs += [(a, b) for a, b in near.tolist() if same(a, b)]
    members: dict[int, list[int]] = {}
    for frames, label in zip(alike, _joined(pairs, len(alike)), strict=True):
        members.setdefault(label, []).extend(frames)
    return [tuple(sorted(group)) for group in members.values()]


def _joined(pairs: Sequence[tuple[int, int]], count: int) -> list[int]:
    """A label for each of so many, equal where pairs join them."""
    if not pairs:
        return list(range(count))
    rows, columns = np.array(pairs).T
    links = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
    labels: list[int] = connected_components(links, directed=False)[1].tolist()
    return labels


def _distances(graph: Graph) -> NDArray[np.float64]:
    """Neighbour distances, ascending, (E,) in Å."""
    distances: NDArray[np.float64] = np.sort(np.linalg.norm(graph.vectors, axis=1))
    return distances


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
