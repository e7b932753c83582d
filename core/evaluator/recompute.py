"""Every part evaluates the halo that it needs: nothing is sent between parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.evaluator.links import Links
from halocline.evaluator.runner import Contribution, Runner, Tally
from halocline.evaluator.sums import forces_from_gradients, virials_from_gradients
from halocline.executor import Executor
from halocline.graph import Contacts, Graph, JointGraph
from halocline.model.backbone import Backbone
from halocline.partition import Part, whole
from halocline.partition.division import divide, is_undivided
from halocline.program import FrozenModel, Precision, ProgramInputs
from halocline.program.layout import gather_edges, lay_out, renewed
from halocline.shares import timed

#: So many edges may be the same again at the next step of dynamics; of more, some come or go at every step.
SAME_EDGES: Final = 10_000


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
        self._session = executor.prepare(FrozenModel.freeze(backbone, precision, self._form))
        self._hops = backbone.hops
        self._last: _LaidOut | None = None

    @timed("layout")  # whatever is neither the session nor the sums
    def run(self, graph: Graph, parts: NDArray[np.int64], links: Links) -> Contribution:
        """See `Runner.run`."""
        tally = Tally(graph, len(parts))
        for part, inputs in self._laid_out(graph, parts):
            outputs = self._session(inputs)
            tally.add_energies(part.atoms[: part.levels[0]], outputs.energies)
            tally.add_gradients(part, gather_edges(outputs.gradients, part, self._form))
        return tally.contribution()

    def run_together(self, joint: JointGraph) -> list[Contribution]:
        """Evaluate several whole structures in one call of the program, which the executor must be able to take.

        Sums over edges are taken structure by structure, in the same order as alone.
        """
        graph, count = joint.graph, len(joint)
        part = whole(len(graph.structure), graph.edges, self._hops)
        outputs = self._session(lay_out(graph, part, self._form, self._precision, self._device))
        pulls = outputs.gradients.cpu()
        receivers, senders = map(torch.from_numpy, (part.receivers, part.senders))
        forces = forces_from_gradients(pulls, receivers, senders, len(part.atoms)).numpy()
        of_edges = torch.repeat_interleave(torch.from_numpy(np.diff(joint.edges)))
        virials = virials_from_gradients(pulls, torch.from_numpy(graph.vectors), of_edges, count).numpy()
        energies = outputs.energies.double().cpu().numpy()
        bounds = [slice(first, last) for first, last in pairwise(joint.atoms.tolist())]
        return [
            Contribution(energies[here].copy(), forces[here].copy(), virial, contacts)
            for here, virial, contacts in zip(bounds, virials, Contacts.of_each(joint), strict=True)
        ]

    def _laid_out(self, graph: Graph, parts: NDArray[np.int64]) -> Iterator[tuple[Part, ProgramInputs]]:
        """The parts with their inputs."""
        if not is_undivided(parts, len(graph.structure)) or len(graph.edges) > SAME_EDGES:
            for part in divide(graph, parts, self._hops):
                yield part, lay_out(graph, part, self._form, self._precision, self._device)
            return
        last = self._last
        if last is not None and last.has_edges_of(graph):
            yield last.part, renewed(last.inputs, graph, last.part)
            return
        part = whole(len(graph.structure), graph.edges, self._hops)
        inputs = lay_out(graph, part, self._form, self._precision, self._device)
        self._last = _LaidOut(graph, part, inputs)
        yield part, inputs


@final
@dataclass(frozen=True, slots=True)
class _LaidOut:
    """An undivided graph, as the program was given it."""

    graph: Graph
    part: Part
    inputs: ProgramInputs

    def has_edges_of(self, graph: Graph) -> bool:
        """Whether another graph has the very edges, between atoms of the same elements."""
        same = graph.edges is self.graph.edges and graph.partners is self.graph.partners
        return same and np.array_equal(graph.structure.numbers, self.graph.structure.numbers)
