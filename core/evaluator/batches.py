"""How many structures are evaluated at a time: as many as are fast together, and as memory holds."""

from __future__ import annotations

from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.evaluator.recompute import RecomputeRunner
from halocline.evaluator.runner import Contribution
from halocline.graph import JointGraph
from halocline.memory.out_of_memory import is_out_of_memory

#: Atoms and edges of structures that are evaluated together. On one thread of a CPU more make no structure faster:
#: calls are negligible by then, and arrays leave the caches. 200 crystals with an M3GNet take 1.5 times as long at
#: 60,000. On GPUs it was not measured.
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
        sizes = np.diff(joint.atoms) + np.diff(joint.edges)
        found: list[Contribution | None] = []
        while len(found) < len(joint):
            first = len(found)
            last = first + _fitting(sizes[first:], self._most)
            if needs is not None:
                last = min(last, first + _fitting(needs[first:], room))
            done = self._attempt(joint.some(first, last))
            if done is not None:
                found += done
            elif last - first == 1:
                found.append(None)
            else:
                self._most = max(1, int(sizes[first:last].sum()) // 2)
        return found

    def _attempt(self, joint: JointGraph) -> list[Contribution] | None:
        """None where memory has run out; by the return, what the failed attempt held is free again."""
        try:
            return self._runner.run_together(joint)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None


def _fitting(needs: NDArray[np.float64] | NDArray[np.int64], most: float) -> int:
    """How many of the first fit together; at least one."""
    return max(1, int(np.searchsorted(np.cumsum(needs), most, side="right")))
