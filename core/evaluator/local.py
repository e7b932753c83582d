"""One device: the parts of a structure one after another. A structure that is not divided is one part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import numpy as np
import torch

from halocline.errors import UsageError
from halocline.evaluator.evaluator import Evaluator
from halocline.evaluator.frame import forces_from_gradients, virial_from_gradients
from halocline.executor import Executor
from halocline.graph import Graph, NeighbourList, Structure
from halocline.model.backbone import Backbone
from halocline.model.result import Result
from halocline.partition import Division, Part, whole
from halocline.program import Precision, Program
from halocline.program.layout import gather_edges, lay_out


@final
class LocalEvaluator(Evaluator):
    """Runs one program on one executor.

    Owners follow from the structure alone, so that results do not depend on what was evaluated before.

    Args:
        backbone: copied and cast, not shared.
        executor: where to run it.
        precision: of the program; geometry and sums are always float64.
        division: into parts, which bounds the memory that the program takes; None leaves structures whole.

    Raises:
        UsageError: the executor does not compute in this precision.
    """

    def __init__(
        self, backbone: Backbone, executor: Executor, precision: Precision, division: Division | None = None
    ) -> None:
        able = executor.capabilities.precisions
        if precision not in able:
            raise UsageError(f"This backend computes in {', '.join(able)}, not in {precision.value}.")
        self._device, self._precision, self._form = executor.device, precision, executor.capabilities.form
        self._session = executor.prepare(Program.freeze(backbone, precision, self._form))
        self._neighbours = NeighbourList(backbone.neighbours)
        self._hops, self._division = backbone.hops, division

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`."""
        graph = self._neighbours.graph(structure)
        energies = np.empty(len(structure))
        forces, virial = np.zeros((len(structure), 3)), np.zeros((3, 3))
        for part in self._parts(graph):
            outputs = self._session(lay_out(graph, part, self._form, self._precision, self._device))
            gradients = gather_edges(outputs.gradients, part, self._form).cpu()
            energies[part.atoms[: part.levels[0]]] = outputs.energies.double().cpu().numpy()
            receivers, senders = map(torch.from_numpy, (part.receivers, part.senders))
            pulls = forces_from_gradients(gradients, receivers, senders, len(part.atoms))
            # Halo atoms feel this part as well: what they feel is added up over parts.
            forces[part.atoms] += pulls.numpy()
            virial += virial_from_gradients(gradients, torch.from_numpy(graph.vectors[part.edges])).numpy()
        return Result(energies=energies, forces=forces, virial=virial, volume=structure.volume)

    def _parts(self, graph: Graph) -> Iterable[Part]:
        if self._division is None:
            return [whole(len(graph.structure), graph.edges, self._hops)]
        return self._division.divide(graph, self._hops)
