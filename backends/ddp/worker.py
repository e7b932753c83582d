"""What one rank computes."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributed import ProcessGroup

from halocline.allocation import give_memory_back
from halocline.backends.ddp.device import device_of_rank
from halocline.backends.ddp.links import DistributedLinks, join_group, leave_group, time_link
from halocline.backends.ddp.messages import (
    Advance,
    Assignment,
    Gathered,
    Measured,
    Moved,
    Plan,
    Settle,
    Signal,
    Step,
    Trial,
    Weigh,
    Weighed,
)
from halocline.backends.ddp.resident.dividing import Dividing
from halocline.backends.ddp.resident.peers import Alone, GroupPeers, Peers
from halocline.backends.ddp.resident.residence import Residence, Run
from halocline.backends.ddp.resident.weighing import weigh
from halocline.cost.profile import receiver_levels
from halocline.cost.speeds import Speeds, measure_compute
from halocline.errors import UsageError
from halocline.evaluator.make import make_runner
from halocline.evaluator.runner import Contribution, Links, NoLinks, Runner
from halocline.graph import cut_candidates
from halocline.memory.memory_model import MemoryModel
from halocline.partition import Division, Domain, domain_graph
from halocline.place import Place
from halocline.plugin import registry
from halocline.program.replacement import Replacement
from halocline.spec import Spec


@final
class DomainWorker:
    """Evaluates the domain of a rank.

    Args:
        assignment: what to evaluate, and how.
        place: of the rank.

    Raises:
        HaloclineError: the model, the executor or the device is not there, or cannot do it.
    """

    def __init__(self, assignment: Assignment, place: Place) -> None:
        self._assignment, self._place = assignment, place
        self._device = device_of_rank(assignment.device, place)
        self._backbone, spec = assignment.model.build(), Spec.parse(assignment.inner)
        self._executor = spec.build(registry().load("executor", spec.name), device=str(self._device))
        self._runners: dict[bool, Runner] = {}
        self._group: ProcessGroup | None = None
        self._peers_group: ProcessGroup | None = None
        self._prepare(exchange=assignment.exchange)
        self._links: Links = NoLinks()
        self._plan: Plan | None = None
        self._cell: NDArray[np.float64] | None = None
        self._residence: Residence | None = None
        self._peers: Peers | None = None

    def answer(self, request: object) -> Measured | Contribution | Weighed | Moved | Gathered:
        """Do what the driver asks.

        Raises:
            HaloclineError: it cannot be done, or a neighbour was lost.
        """
        if isinstance(request, Trial):
            return self.measure(request)
        if isinstance(request, Step):
            return self.step(request)
        if isinstance(request, Weigh | Settle):
            self._residence = None  # atoms of a run before need not fit beside those of the next
        if isinstance(request, Weigh):
            return self.weigh(request)
        if isinstance(request, Settle):
            self._residence = self._settle(request)
            return self._residence.settled()
        assert self._residence is not None
        if isinstance(request, Advance):
            return self._residence.advance(request.steps)
        assert request is Signal.GATHER
        return self._residence.gather()

    def measure(self, trial: Trial) -> Measured:
        """Time messages and, where there is a graph, evaluations.

        Raises:
            DistributedError: a neighbour was lost.
        """
        rate, latency = time_link(self._device, self._place, trial.group, self._assignment.timeout)
        if trial.graph is None:
            return Measured()
        try:
            self._runner(exchange=True)
        except UsageError as error:
            return Measured(refusal=str(error))
        runner, hops = self._runner(exchange=False), len(receiver_levels(self._backbone))
        few = trial.graph
        graph = cut_candidates(self._backbone.neighbours, few.edges, few.partners, few.structure)
        return Measured(Speeds(measure_compute(runner, graph, hops), rate, latency))

    def weigh(self, request: Weigh) -> Weighed:
        """Count what atoms ask of this rank, and measure where there is most.

        Raises:
            HaloclineError: domains cannot be built, or a neighbour was lost.
        """
        backbone, peers = self._backbone, self._meet_peers()
        load, few = weigh(request.start, backbone.neighbours, backbone.hops, peers, request.profile)
        return Weighed(load, self.measure(Trial(few, request.group)))

    @property
    def replaced(self) -> tuple[Replacement, ...]:
        """Stages of the model that kernels have taken the place of."""
        return next(iter(self._runners.values())).replaced

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
        domain, rule = self._plan.domain, self._backbone.neighbours
        graph = domain_graph(domain, step.positions, self._cell, self._plan.pbc, rule)
        return self._runner(exchange=self._plan.exchange).run(graph, domain.parts, self._links)

    def close(self) -> None:
        """Leave the process groups that this rank shares with the others."""
        for group in (self._group, self._peers_group):
            if group is not None:
                leave_group(group)

    def _meet_peers(self) -> Peers:
        """The ranks between which atoms go, in the memory of the CPU."""
        if self._peers is None:
            place, assignment = self._place, self._assignment
            if place.size > 1:
                name = f"{assignment.group}/atoms"
                self._peers_group = join_group(torch.device("cpu"), place, name, assignment.timeout)
                self._peers = GroupPeers(self._peers_group, place.rank, place.size)
            else:
                self._peers = Alone()
        return self._peers

    def _settle(self, start: Settle) -> Residence:
        """Hold atoms."""
        peers = self._meet_peers()
        self._prepare(exchange=start.exchange)
        runner = self._runner(exchange=start.exchange)

        def prepare(domain: Domain) -> Run:
            links = self._links_of(domain) if start.exchange else NoLinks()
            return lambda graph: runner.run(graph, domain.parts, links)

        hops = self._backbone.hops
        if start.exchange:
            hops = max(stage.spec.reach for _, stage in self._backbone.stages())
        return Residence(start, self._backbone.neighbours, hops, self._dividing(start), peers, prepare)

    def _dividing(self, start: Settle) -> Dividing:
        """How this rank divides what it owns; with a bound on memory it keeps none that it does not need."""
        division = Division.parse(start.partition)
        if start.memory is None:
            return Dividing(division)
        give_memory_back(os.environ)
        assignment, form = self._assignment, self._executor.capabilities.form
        memory = MemoryModel.measure(self._backbone, assignment.precision, form, compress=assignment.compress)
        return Dividing(replace(division, memory=start.memory), memory)

    def _links_of(self, domain: Domain) -> Links:
        """Through which state at its borders goes."""
        if self._group is None:  # a single rank
            return NoLinks()
        return DistributedLinks(domain.sends, domain.receives, self._group, str(self._device))

    def _take(self, plan: Plan) -> None:
        self._prepare(exchange=plan.exchange)
        self._plan = plan
        if plan.exchange:
            self._links = self._links_of(plan.domain)

    def _prepare(self, *, exchange: bool) -> None:
        """Compile what is missing, and meet the other ranks if state has to be sent."""
        self._runner(exchange=exchange)
        if exchange and self._group is None and self._place.size > 1:
            assignment = self._assignment
            self._group = join_group(self._device, self._place, assignment.group, assignment.timeout)

    def _runner(self, *, exchange: bool) -> Runner:
        if exchange not in self._runners:
            self._runners[exchange] = make_runner(
                self._backbone,
                self._executor,
                self._assignment.precision,
                exchange=exchange,
                compress=self._assignment.compress,
            )
        return self._runners[exchange]
