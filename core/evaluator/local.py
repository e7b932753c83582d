"""One device, one part: the evaluator that needs nothing else."""

from __future__ import annotations

from typing import final

import torch

from halocline.errors import UsageError
from halocline.evaluator.evaluator import Evaluator
from halocline.evaluator.frame import forces_from_gradients, virial_from_gradients
from halocline.executor import Executor
from halocline.graph import NeighbourList, Structure
from halocline.model.backbone import Backbone
from halocline.model.result import Result
from halocline.partition import whole
from halocline.program import Precision, Program
from halocline.program.layout import gather_edges, lay_out


@final
class LocalEvaluator(Evaluator):
    """Runs one program on one executor.

    Args:
        backbone: copied and cast, not shared.
        executor: where to run it.
        precision: of the program; geometry and sums are always float64.

    Raises:
        UsageError: the executor does not compute in this precision.
    """

    def __init__(self, backbone: Backbone, executor: Executor, precision: Precision) -> None:
        able = executor.capabilities.precisions
        if precision not in able:
            raise UsageError(f"This backend computes in {', '.join(able)}, not in {precision.value}.")
        self._device, self._precision, self._form = executor.device, precision, executor.capabilities.form
        self._session = executor.prepare(Program.freeze(backbone, precision, self._form))
        self._neighbours = NeighbourList(backbone.neighbours)
        self._hops = backbone.hops

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`."""
        graph = self._neighbours.graph(structure)
        part = whole(len(structure), graph.edges, self._hops)
        outputs = self._session(lay_out(graph, part, self._form, self._precision, self._device))
        gradients = gather_edges(outputs.gradients, part, self._form).cpu()
        vectors, receivers, senders = map(
            torch.from_numpy, (graph.vectors, graph.edges.receivers, graph.edges.senders)
        )
        return Result(
            energies=outputs.energies.double().cpu().numpy(),
            forces=forces_from_gradients(gradients, receivers, senders, len(structure)).numpy(),
            virial=virial_from_gradients(gradients, vectors).numpy(),
            volume=structure.volume,
        )
