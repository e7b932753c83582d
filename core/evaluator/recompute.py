"""Every part evaluates the halo that it needs: nothing is sent between parts."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.evaluator.frame import forces_from_gradients, virials_from_gradients
from halocline.evaluator.links import Links
from halocline.evaluator.runner import Contribution, Runner, Tally
from halocline.executor import Executor
from halocline.graph import Contacts, Graph, JointGraph
from halocline.model.backbone import Backbone
from halocline.partition import whole
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
