"""Every part evaluates the halo that it needs: nothing is sent between parts."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.evaluator.links import Links
from halocline.evaluator.runner import Contribution, Runner, Tally
from halocline.executor import Executor
from halocline.graph import Graph
from halocline.model.backbone import Backbone
from halocline.partition.division import divide
from halocline.program import Precision, Program
from halocline.program.layout import gather_edges, lay_out
from halocline.shares import timed


@final
class RecomputeRunner(Runner):
    """Runs the whole program on each part; layers work on the receivers that later ones need, and no others.

    Args:
        backbone: copied and cast, not shared.
        executor: where to run it.
        precision: of the program.
    """

    def __init__(self, backbone: Backbone, executor: Executor, precision: Precision) -> None:
        self._device, self._precision, self._form = executor.device, precision, executor.capabilities.form
        self._session = executor.prepare(Program.freeze(backbone, precision, self._form))
        self._hops = backbone.hops

    @timed("layout")  # whatever is neither the session nor the sums
    def run(self, graph: Graph, parts: NDArray[np.int64], links: Links) -> Contribution:
        """See `Runner.run`."""
        tally = Tally(graph, len(parts))
        for part in divide(graph, parts, self._hops):
            outputs = self._session(lay_out(graph, part, self._form, self._precision, self._device))
            tally.add_energies(part.atoms[: part.levels[0]], outputs.energies)
            tally.add_gradients(part, gather_edges(outputs.gradients, part, self._form))
        return tally.contribution()
