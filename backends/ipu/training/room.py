"""The fixed sizes of a program that is trained, found from the frames and the steps of the fit."""

from __future__ import annotations

from collections.abc import Sequence
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

#: So many sizes of packs are tried, on so many steps; what is taken has room for every step.
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
        cls, samples: Sequence[Sample], epochs: Sequence[Steps], hops: int, atoms: int, neighbours: int
    ) -> Self:
        """The room that has the fewest places for atoms in a step, and the largest packs of those.

        Args:
            samples: the frames.
            epochs: for each epoch, the numbers of the frames of each step.
            hops: of the model.
            atoms: of a pack, if that is given; else 0.
            neighbours: of any atom, likewise.
        """
        table = np.array(
            [_sizes(sample.graph) for sample in samples]
        )  # in one pass: frames may be made when asked for
        sizes = table[:, 0]
        frames = max(len(step) for steps in epochs for step in steps)
        chosen = atoms or _best_size(sizes, epochs[0])
        structures = max(1, min(frames, chosen // int(sizes.min())))
        packs = max(len(pack(sizes[step], chosen, structures)) for steps in epochs for step in steps)
        rows = (neighbours, neighbours) if neighbours else (max(1, table[:, 1].max()), max(1, table[:, 2].max()))
        return cls(chosen, structures, packs, Capacity((chosen,) * (hops + 1), int(rows[0]) + 1, int(rows[1])))

    @property
    def places(self) -> int:
        """For atoms, in one step."""
        return self.packs * self.atoms


def _best_size(sizes: NDArray[np.int64], steps: Steps) -> int:
    """Atoms of a pack, so that steps of an epoch take few places."""
    some = [sizes[step] for step in steps[:: max(1, len(steps) // _STEPS)]]
    largest = int(sizes.max())
    most = max(largest, min(_TIMES * largest, max(int(step.sum()) for step in some)))
    tried = np.unique(np.linspace(largest, most, _TRIED).astype(np.int64))
    taken = {int(size): int(size) * max(len(pack(step, int(size), len(step))) for step in some) for size in tried}
    return min(taken, key=lambda size: (taken[size], -size))


def _sizes(graph: Graph) -> tuple[int, int, int]:
    """Atoms; most neighbours of one of them; most atoms of which one is a neighbour."""
    received, sent = (np.bincount(each, minlength=1) for each in (graph.edges.receivers, graph.edges.senders))
    return len(graph.structure), int(received.max()), int(sent.max())
