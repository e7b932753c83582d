"""One device: the parts of a structure one after another. A structure that is not divided is one part."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import UsageError
from halocline.evaluator.evaluator import Evaluator
from halocline.evaluator.links import NoLinks
from halocline.evaluator.make import make_runner
from halocline.evaluator.result import Result
from halocline.executor import Executor
from halocline.graph import Graph, NeighbourList, Structure
from halocline.memory.memory_model import MemoryModel, expected_candidates
from halocline.model.backbone import Backbone
from halocline.partition import Division
from halocline.program import Precision

logger = logging.getLogger(__name__)


@final
class LocalEvaluator(Evaluator):
    """Runs one model on one executor.

    Owners follow from the structure alone, so that results do not depend on what was evaluated before.

    Args:
        backbone: copied and cast, not shared.
        executor: where to run it.
        precision: of the program; geometry and sums are always float64.
        division: into parts, which bounds the memory that the program takes; None leaves structures whole.
        exchange: run stage after stage over all parts, instead of part after part: no atom is evaluated twice,
            but the state of all atoms is kept.

    Raises:
        UsageError: the executor does not compute in this precision, or cannot exchange.
    """

    def __init__(
        self,
        backbone: Backbone,
        executor: Executor,
        precision: Precision,
        division: Division | None = None,
        *,
        exchange: bool = False,
    ) -> None:
        able = executor.capabilities.precisions
        if precision not in able:
            raise UsageError(f"This backend computes in {', '.join(able)}, not in {precision.value}.")
        self._runner = make_runner(backbone, executor, precision, exchange=exchange)
        self._neighbours, self._hops = NeighbourList(backbone.neighbours), backbone.hops
        self._division, self._memory = division, None
        if division is not None and division.memory is not None:
            if exchange:
                raise UsageError("Exchanging keeps the state of all atoms; choose halo=recompute to bound memory.")
            self._memory = MemoryModel.measure(backbone, precision, executor.capabilities.form)

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`.

        Raises:
            UsageError: the bound on memory is too low for this structure.
        """
        graph = self._neighbours.graph(structure)
        if self._memory is not None:
            self._division = self._bounded(graph, self._memory)
        energies, forces, virial, contacts = self._runner.run(graph, self._owners(graph), NoLinks())
        return Result(energies=energies, forces=forces, virial=virial, volume=structure.volume, contacts=contacts)

    def _owners(self, graph: Graph) -> NDArray[np.int64]:
        return np.zeros(len(graph.structure), np.int64) if self._division is None else self._division.owners(graph)

    def _bounded(self, graph: Graph, memory: MemoryModel) -> Division:
        """The division with as many parts as its bound on memory asks for.

        They are counted at every evaluation, and from the graph alone: candidates are those of some structure
        before, and sums over other parts differ in their last bits, which a restart has to meet.
        """
        division, neighbours = self._division, self._neighbours
        assert division is not None
        assert division.memory is not None
        candidates = expected_candidates(len(graph.edges), neighbours.rule, neighbours.skin)
        parts = memory.parts(graph, candidates, self._hops, division.partitioner, division.memory)
        logger.debug("%d parts keep the evaluation of %d atoms within the bound.", parts, len(graph.structure))
        return replace(division, parts=parts)
