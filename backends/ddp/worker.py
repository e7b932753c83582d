"""What one rank computes."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ddp.device import device_of_rank
from halocline.backends.ddp.group import join_group, leave_group
from halocline.backends.ddp.links import DistributedLinks
from halocline.backends.ddp.messages import Assignment, Plan, Step
from halocline.backends.ddp.place import Place
from halocline.evaluator.domain_graph import domain_graph
from halocline.evaluator.links import Links, NoLinks
from halocline.evaluator.make import make_runner
from halocline.evaluator.runner import Contribution
from halocline.plugin import registry
from halocline.spec import Spec


@final
class Worker:
    """Evaluates the domain of a rank.

    Args:
        assignment: what to evaluate, and how.
        place: of the rank.

    Raises:
        HaloclineError: the model, the executor or the device is not there, or cannot do it.
    """

    def __init__(self, assignment: Assignment, place: Place) -> None:
        self._device = device_of_rank(assignment.device, place)
        backbone, spec = assignment.model.build(), Spec.parse(assignment.inner)
        executor = spec.build(registry().load("executor", spec.name), device=str(self._device))
        self._runner = make_runner(backbone, executor, assignment.precision, exchange=assignment.exchange)
        self._rule = backbone.neighbours
        linked = assignment.exchange and place.ranks > 1
        self._group = join_group(self._device, place, assignment.group, assignment.timeout) if linked else None
        self._links: Links = NoLinks()
        self._plan: Plan | None = None
        self._cell: NDArray[np.float64] | None = None

    def step(self, step: Step) -> Contribution:
        """Evaluate what the rank owns.

        Raises:
            HaloclineError: it cannot be evaluated, or a neighbour was lost.
        """
        if step.plan is not None:
            self._take(step.plan)
        if step.cell is not None:
            self._cell = step.cell
        assert self._plan is not None
        assert self._cell is not None
        domain = self._plan.domain
        graph = domain_graph(domain, step.positions, self._cell, self._plan.pbc, self._rule)
        return self._runner.run(graph, domain.parts, self._links)

    def close(self) -> None:
        """Leave the other ranks."""
        if self._group is not None:
            leave_group(self._group)

    def _take(self, plan: Plan) -> None:
        self._plan = plan
        if self._group is not None:
            domain = plan.domain
            self._links = DistributedLinks(domain.sends, domain.receives, self._group, str(self._device))
