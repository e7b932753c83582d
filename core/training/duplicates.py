"""Structures that appear in more than one set of a split would make its errors look too good."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from halocline.errors import TrainingError
from halocline.graph import Graph
from halocline.training.split import Split

#: Å; sorted neighbour distances that agree this well belong to one structure. Files round to 1e-8 or coarser.
SAME = 1e-4


def refuse_shared(graphs: Mapping[int, Graph], split: Split, names: Sequence[str]) -> None:
    """Compare all frames between sets by their sorted neighbour distances.

    These do not change under rotation, translation or renumbering, and are what the model sees. Frames
    without neighbours are left out: they have no geometry that could be learnt by heart.

    Args:
        graphs: of the frames, by number.
        split: the sets.
        names: of the frames, for the message.

    Raises:
        TrainingError: a structure is in two sets.
    """
    purpose = {i: name for name, frames in split.purposes().items() for i in frames}
    groups: dict[tuple[bytes, int], list[tuple[float, int]]] = defaultdict(list)
    lengths = {i: _distances(graph) for i, graph in graphs.items() if len(graph.edges)}
    for i, distances in lengths.items():
        kind = np.sort(graphs[i].structure.numbers).tobytes()
        groups[kind, len(distances)].append((float(distances.mean()), i))
    for group in groups.values():
        for (_, i), (_, j) in pairwise(sorted(group)):
            if purpose[i] != purpose[j] and np.abs(lengths[i] - lengths[j]).max() < SAME:
                raise TrainingError(
                    f"The same structure serves two purposes: {names[i]} ({purpose[i]}) and {names[j]} "
                    f"({purpose[j]}). Remove one of them, so that the errors are those of unseen structures."
                )


def _distances(graph: Graph) -> NDArray[np.float64]:
    """All neighbour distances, (E,) in Å, ascending."""
    return np.sort(np.linalg.norm(graph.vectors, axis=1))
