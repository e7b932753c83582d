"""How many structures are evaluated at a time: as many as are fast together, and as memory holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray

from halocline.aggregation import Form
from halocline.evaluator.recompute import RecomputeRunner
from halocline.evaluator.runner import Contribution
from halocline.executor import Capabilities
from halocline.graph import JointGraph
from halocline.memory.live_bytes import is_out_of_memory
from halocline.program.capacity import power_of_two

#: Atoms and edges of structures that are evaluated together, or the slots of their table. On one thread of a CPU
#: more make no structure faster: calls are negligible by then, and arrays leave the caches. 200 crystals with an
#: M3GNet take 1.5 times as long at 60,000. On GPUs it was not measured; `make gpu` has a stage for it.
MOST_AT_ONCE: Final = 5_000


@final
class Batches:
    """Evaluates structures in batches, which become smaller for good once memory has run out.

    Args:
        runner: of the whole program.
    """

    def __init__(self, runner: RecomputeRunner) -> None:
        self._runner, self._most = runner, MOST_AT_ONCE

    def run(
        self, joint: JointGraph, needs: NDArray[np.float64] | None = None, room: float = np.inf
    ) -> list[Contribution | None]:
        """What each structure contributes; None for one that does not fit into memory, even alone.

        Args:
            joint: S structures.
            needs: (S,) bytes, of each.
            room: bytes that a batch may need; a structure that needs more is a batch by itself.
        """
        extents = _Extents.of(joint, self._runner.capabilities)
        found: list[Contribution | None] = []
        while len(found) < len(joint):
            first = len(found)
            sizes = extents.together(first)
            last = first + _fitting(sizes, self._most)
            if needs is not None:
                last = min(last, first + _fitting(np.cumsum(needs[first:]), room))
            done = self._attempt(joint.some(first, last))
            if done is not None:
                found += done
            elif last - first == 1:
                found.append(None)
            else:
                self._most = max(1, int(sizes[last - first - 1]) // 2)
        return found

    def _attempt(self, joint: JointGraph) -> list[Contribution] | None:
        """None where memory has run out; by the return, what the failed attempt held is free again."""
        try:
            return self._runner.run_together(joint)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None


@final
@dataclass(frozen=True, slots=True)
class _Extents:
    """What each of S structures adds to a batch.

    Attributes:
        atoms: (S,)
        edges: (S,)
        widths: (S,) slots of a row, one of which is padding.
        capabilities: of the executor, which tell what a batch of them takes.
    """

    atoms: NDArray[np.int64]
    edges: NDArray[np.int64]
    widths: NDArray[np.int64]
    capabilities: Capabilities

    @classmethod
    def of(cls, joint: JointGraph, capabilities: Capabilities) -> Self:
        """Of the structures of a joint graph."""
        neighbours = np.bincount(joint.graph.edges.receivers, minlength=joint.atoms[-1])
        widths = np.maximum.reduceat(neighbours, joint.atoms[:-1]) + 1 if len(joint) else np.empty(0, np.int64)
        return cls(np.diff(joint.atoms), np.diff(joint.edges), widths, capabilities)

    def together(self, first: int) -> NDArray[np.int64]:
        """The sizes of batches that begin with one structure and have 1, 2, ... of them."""
        atoms = np.cumsum(self.atoms[first:])
        if self.capabilities.form is Form.EDGES:
            return atoms + np.cumsum(self.edges[first:])
        widths = np.maximum.accumulate(self.widths[first:])
        if self.capabilities.shape_by_shape:
            atoms, widths = (np.array([power_of_two(size) for size in each.tolist()]) for each in (atoms, widths))
        return atoms * widths


def _fitting(sizes: NDArray[np.float64] | NDArray[np.int64], most: float) -> int:
    """How many of the first fit together, whose sizes add up to these; at least one."""
    return max(1, int(np.searchsorted(sizes, most, side="right")))
