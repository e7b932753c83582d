"""The fixed sizes of a program that is trained, found from the frames and the steps of the fit."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ipu.packing import pack
from halocline.graph import Graph
from halocline.program.capacity import Capacity
from halocline.training.samples import Sample

#: Packs are tried up to so many times the largest structure: larger ones waste hardly less, and need memory.
_TIMES: Final = 4

#: So many sizes of packs are tried, on so many of the largest steps; what is taken has room for every step.
_TRIED, _STEPS = 32, 64

Steps = Sequence[NDArray[np.int64]]


@final
@dataclass(frozen=True, slots=True)
class Room:
    """What a step has room for.

    Attributes:
        atoms: of a pack.
        structures: of a pack.
        packs: of a step.
        capacity: of the program, which sees one pack at a time.
    """

    atoms: int
    structures: int
    packs: int
    capacity: Capacity

    @classmethod
    def find(
        cls,
        samples: Sequence[Sample],
        steps: Callable[[int], Steps],
        epochs: int,
        hops: int,
        atoms: int = 0,
        neighbours: int = 0,
    ) -> Self:
        """The room that has the fewest places for atoms in a step, and the largest packs of those.

        Args:
            samples: the frames.
            steps: for an epoch, the numbers of the frames of each of its steps.
            epochs: how many there are.
            hops: of the model.
            atoms: of a pack, if that is given.
            neighbours: of any atom, likewise.

        Raises:
            UsageError: a frame has more atoms than that.
        """
        table = np.array([_sizes(sample.graph) for sample in samples])  # in one pass: frames may be made anew
        sizes = table[:, 0]

        def every() -> Iterator[NDArray[np.int64]]:
            return (sizes[step] for epoch in range(epochs) for step in steps(epoch))

        chosen = atoms or _best_size(heapq.nlargest(_STEPS, every(), key=np.sum))
        structures = max(1, chosen // int(sizes.min()))
        packs = max(len(pack(step, chosen, structures)) for step in every())
        rows = (neighbours, neighbours) if neighbours else (max(1, table[:, 1].max()), max(1, table[:, 2].max()))
        capacity = Capacity((chosen,) * (hops + 1), int(rows[0]) + 1, int(rows[1]))
        return cls(chosen, structures, packs, capacity)

    @property
    def places(self) -> int:
        """For atoms, in one step."""
        return self.packs * self.atoms


def _best_size(steps: Sequence[NDArray[np.int64]]) -> int:
    """Atoms of a pack, so that steps take few places.

    Args:
        steps: sizes of the frames of those steps that have the most atoms, which decide how many packs there are.
    """
    largest = max(int(step.max()) for step in steps)
    most = max(largest, min(_TIMES * largest, max(int(step.sum()) for step in steps)))
    tried = np.unique(np.linspace(largest, most, _TRIED).astype(np.int64))
    taken = {int(size): int(size) * max(len(pack(step, int(size), len(step))) for step in steps) for size in tried}
    return min(taken, key=lambda size: (taken[size], -size))


def _sizes(graph: Graph) -> tuple[int, int, int]:
    """Atoms; most neighbours of one of them; most atoms of which one is a neighbour."""
    received, sent = (np.bincount(each, minlength=1) for each in (graph.edges.receivers, graph.edges.senders))
    return len(graph.structure), int(received.max()), int(sent.max())
