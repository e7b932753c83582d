"""One device: the parts of a structure one after another. A structure that is not divided is one part."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.aggregation import Form
from halocline.errors import HaloclineError, NotFiniteError, StructureError, UsageError
from halocline.evaluator.batches import Batches
from halocline.evaluator.evaluator import Evaluator
from halocline.evaluator.make import make_runner
from halocline.evaluator.recompute import RecomputeRunner
from halocline.evaluator.result import Result
from halocline.evaluator.runner import Contribution, NoLinks
from halocline.executor import Executor
from halocline.graph import Graph, JointGraph, NeighbourList, Radius, Structure, joint_graph
from halocline.memory.memory_model import MemoryModel, expected_candidates
from halocline.model.backbone import Backbone
from halocline.partition import Division
from halocline.partition.division import divided
from halocline.program import Precision
from halocline.program.policy import PrecisionPolicy

logger = logging.getLogger(__name__)

#: Kinds of device on which whole structures stay from positions to forces, where the executor can. On CPUs the way
#: by NumPy is as fast or faster, at any size (docs/measured/cpu/steps_on_device.json).
STAY_ON: Final = ("cuda",)


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
        neighbours: by the rule of the backbone, shared with other evaluators; by default its own.
        compress: let tables take the place of radial functions; see `FrozenModel.freeze`.
        policy: regions of the backbone that compute in other dtypes, likewise.

    Raises:
        UsageError: the executor does not compute in this precision, or cannot exchange; or the policy does not
            suit it or the backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        executor: Executor,
        precision: Precision,
        division: Division | None = None,
        *,
        exchange: bool = False,
        neighbours: NeighbourList | None = None,
        compress: bool = False,
        policy: PrecisionPolicy | None = None,
    ) -> None:
        able = executor.capabilities.precisions
        if precision not in able:
            raise UsageError(f"This backend computes in {', '.join(able)}, not in {precision.value}.")
        self._runner = make_runner(
            backbone, executor, precision, exchange=exchange, compress=compress, policy=policy
        )
        self.replaced = self._runner.replaced
        self._neighbours, self._hops = neighbours or NeighbourList(backbone.neighbours), backbone.hops
        self._division, self._memory = division, None
        self._batches: Batches | None = None
        whole = division is None or division.parts == 1  # a bound on memory divides only what exceeds it
        # A bound on memory counts edges, and how many slots a table has depends on what else is in a batch.
        counted = division is None or division.memory is None or executor.capabilities.form is Form.EDGES
        several = executor.capabilities.many_structures and whole and counted
        if several and isinstance(self._runner, RecomputeRunner):
            self._batches = Batches(self._runner)
        self.together = self._batches is not None
        self._on_device: Callable[[Structure], Contribution] | None = None
        rule = backbone.neighbours
        # Other rules search at every step, on the CPU.
        stays = _stays_on_device(executor) and (division is None or not division.divides)
        if stays and isinstance(self._runner, RecomputeRunner) and isinstance(rule, Radius):
            self._on_device = partial(self._runner.run_on_device, rule.cutoff, self._neighbours.skin)
        undivided = division is None or not division.divides
        self._whole = self._runner if isinstance(self._runner, RecomputeRunner) and undivided else None
        if division is not None and division.memory is not None:
            if exchange:
                raise UsageError("Exchanging keeps the state of all atoms; choose halo=recompute to bound memory.")
            self._memory = MemoryModel.measure(backbone, precision, executor.capabilities.form, compress=compress)

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`.

        Raises:
            UsageError: the bound on memory is too low for this structure.
        """
        if self._on_device is not None:
            return _result(structure, self._on_device(structure))
        if self._whole is not None and (again := self._whole.run_again(structure)) is not None:
            return _result(structure, again)
        graph = self._neighbours.graph(structure)
        if self._whole is not None:
            return _result(structure, self._whole.run_whole(graph, self._neighbours.latest_cut))
        if self._memory is not None:
            self._division = self._bounded(graph, self._memory)
        return _result(structure, self._runner.run(graph, self._owners(graph), NoLinks()))

    def evaluate_many(self, structures: Sequence[Structure]) -> list[Result | HaloclineError]:
        """See `Evaluator.evaluate_many`: in batches, if the executor takes several structures in one call.

        A structure that exceeds the bound on memory is divided, as alone.
        """
        if self._batches is None:
            return super().evaluate_many(structures)
        joint, failures = joint_graph(self._neighbours.rule, structures)
        found = iter(self._together(joint, self._batches))
        return [failures[place] if place in failures else next(found) for place in range(len(structures))]

    def _together(self, joint: JointGraph, batches: Batches) -> list[Result | HaloclineError]:
        if self._memory is None:
            return [_outcome(*each) for each in zip(joint.structures, batches.run(joint), strict=True)]
        assert self._division is not None
        assert self._division.memory is not None
        needs = self._memory.wholes(np.diff(joint.atoms), np.diff(joint.edges), self._hops)
        room = self._memory.room(joint.graph, self._candidates(joint.graph), self._division.memory)
        found: list[Result | HaloclineError] = []
        for large, run in groupby(range(len(joint)), lambda place: bool(needs[place] > room)):
            places = list(run)
            if large:
                found += [self._divided(joint.structures[place]) for place in places]
            else:
                some = joint.some(places[0], places[-1] + 1)
                contributions = batches.run(some, needs[places], room)
                found += [_outcome(*each) for each in zip(some.structures, contributions, strict=True)]
        return found

    def _divided(self, structure: Structure) -> Result | HaloclineError:
        try:
            return self.evaluate(structure)
        except (StructureError, UsageError) as error:  # the latter if the bound is too low for this structure
            return error

    def _owners(self, graph: Graph) -> NDArray[np.int64]:
        if self._division is None or not self._division.divides:
            return np.zeros(len(graph.structure), np.int64)
        return self._division.owners(graph)

    def _bounded(self, graph: Graph, memory: MemoryModel) -> Division:
        """The division with as many parts as its bound on memory asks for.

        They are counted at every evaluation, and from the graph alone: candidates are those of some structure
        before, and sums over other parts differ in their last bits, which a restart has to meet.
        """
        division = self._division
        assert division is not None
        assert division.memory is not None
        parts = memory.parts(graph, self._candidates(graph), self._hops, division.partitioner, division.memory)
        logger.debug("%d parts keep the evaluation of %d atoms within the bound.", parts, len(graph.structure))
        return replace(division, parts=parts)

    def _candidates(self, graph: Graph) -> int:
        """How many candidates a graph was probably cut from."""
        return expected_candidates(graph, self._neighbours.rule, self._neighbours.skin)


def _stays_on_device(executor: Executor) -> bool:
    return executor.capabilities.steps_on_device and torch.device(executor.device).type in STAY_ON


def _result(structure: Structure, contribution: Contribution) -> Result:
    energies, forces, virial, contacts, others = contribution
    return Result.made_of(energies, forces, virial, others, structure.volume, contacts)


def _outcome(structure: Structure, contribution: Contribution | None) -> Result | HaloclineError:
    if contribution is None:
        return StructureError(
            f"Its {len(structure)} atoms and their neighbours do not fit into memory; evaluate it in parts, with "
            f"a partition such as {divided(8)} or, on the CPU, a bound on memory such as 8GiB."
        )
    try:
        return _result(structure, contribution)
    except NotFiniteError as error:
        return error
