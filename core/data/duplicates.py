"""Structures that appear in more than one set of a split would make its errors look too good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

#: The kind of a frame, and its neighbour distances, ascending, (E,) in Å.
_Shape = tuple[bytes, NDArray[np.float64]]


def duplicate_groups(graphs: Mapping[int, Graph]) -> list[tuple[int, ...]]:
    """Find the frames that show the same structure.

    Two frames do if they have the same elements and their sorted neighbour distances agree within `SAME`. These do
    not change under rotation, translation or renumbering, and are what the model sees. Frames that are joined by
    others, each like the next, are of one group. Frames without neighbours are never duplicates: they have no
    geometry that could be learnt by heart.

    Args:
        graphs: of the frames, by number.

    Returns:
        Groups of two frames or more, each ascending, in the order of their first frames.
    """
    kinds: dict[tuple[bytes, int], list[int]] = {}
    shapes = {i: _shape(graph) for i, graph in graphs.items() if len(graph.edges)}
    for i, (elements, distances) in shapes.items():
        kinds.setdefault((elements, len(distances)), []).append(i)
    return sorted(group for frames in kinds.values() for group in _groups(sorted(frames), shapes))


def _shape(graph: Graph) -> _Shape:
    return np.sort(graph.structure.numbers).tobytes(), np.sort(np.linalg.norm(graph.vectors, axis=1))


def _groups(frames: Sequence[int], shapes: Mapping[int, _Shape]) -> list[tuple[int, ...]]:
    """Groups among frames of one kind: near in a few distances first, as a tree finds them, then in all."""
    count = len(shapes[frames[0]][1])
    probes = np.linspace(0, count - 1, _PROBES).astype(np.int64)
    tree = KDTree(np.array([shapes[i][1][probes] for i in frames]))
    pairs = [
        (a, b)
        for a, b in tree.query_pairs(SAME, p=np.inf)
        if np.abs(shapes[frames[a]][1] - shapes[frames[b]][1]).max() < SAME
    ]
    if not pairs:
        return []
    rows, columns = np.array(pairs).T
    links = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(frames), len(frames)))
    labels = connected_components(links, directed=False)[1]
    members: dict[int, list[int]] = {}
    for frame, label in zip(frames, labels.tolist(), strict=True):
        members.setdefault(label, []).append(frame)
    return [tuple(group) for group in members.values() if len(group) > 1]
