"""Every part evaluates the halo that it needs: nothing is sent between parts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.aggregation import Form
from halocline.evaluator.device_search import pairs_within
from halocline.evaluator.prepared_step import PreparedStep
from halocline.evaluator.pull import Pull
from halocline.evaluator.runner import Contribution, Links, Runner, Tally
from halocline.evaluator.topology import Topology
from halocline.executor import Executor
from halocline.graph import Contacts, Graph, JointGraph, LatestCut, Structure, Surroundings
from halocline.graph.cover import covers
from halocline.graph.structure import same_bits
from halocline.model.backbone import Output
from halocline.partition import Part, whole
from halocline.partition.division import divide, is_undivided
from halocline.program import FrozenModel, ProgramInputs, ProgramOutputs, TableInputs
from halocline.program.capacity import Capacity, crop, pad
from halocline.program.geometry import forces_from_gradients, virials_from_gradients
from halocline.program.layout import gather_edges, lay_out, renewed
from halocline.shares import timed

#: Edges up to which steps are prepared: of more, what is held for it would be a part of all that is.
PREPARED_EDGES: Final = 200_000


@final
class RecomputeRunner(Runner):
    """Runs the whole program on each part; layers work on the receivers that later ones need, and no others.

    Args:
        frozen: for this executor.
        executor: where to run it.
    """

    def __init__(self, frozen: FrozenModel, executor: Executor) -> None:
        self.capabilities = executor.capabilities
        self._device, self._precision, self._form = executor.device, frozen.precision, frozen.form
        backbone = frozen.backbone
        self._hops, self._outputs, self._shapes = backbone.hops, backbone.outputs, backbone.shapes
        self.replaced = frozen.replaced
        self._session = executor.prepare(frozen)
        self._last: _LaidOut | None = None
        self._topology: Topology | None = None
        self._prepared: PreparedStep | None = None

    @timed("layout")  # whatever is neither the session nor the sums
    def run(self, graph: Graph, parts: NDArray[np.int64], links: Links) -> Contribution:
        """See `Runner.run`."""
        if is_undivided(parts, len(graph.structure)):
            return self.run_whole(graph)
        tally = Tally(graph, len(parts), self._shapes)
        for part in divide(graph, parts, self._hops):
            outputs = self._session(lay_out(graph, part, self._form, self._precision, self._device))
            owned = part.atoms[: part.levels[0]]
            tally.add_energies(owned, outputs.energies)
            tally.add_others(owned, dict(zip(self._outputs[1:], outputs.others, strict=True)))
            tally.add_gradients(part, gather_edges(outputs.gradients, part, self._form))
        return tally.contribution()

    def run_again(self, structure: Structure) -> Contribution | None:
        """Evaluate a whole structure whose edges are among the last candidates; None where that is unsure.

        Every number is that of `run_whole`, to the bit.
        """
        step, last = self._prepared, self._last
        if step is None or last is None:
            return None
        moved = step.moved(structure)
        if moved is None:
            self._prepared = None  # until the next graph
            return None
        outputs = self._session(moved.inputs)
        sums = step.sums(outputs, moved)
        if sums is None and not step.has_edges_of_cut:
            return None
        if sums is None:
            return last.contribution(
                last.graph.moved(structure, moved.vectors, moved.squares), outputs, self._form
            )
        return Contribution(*sums, Contacts.of_lengths(moved.surroundings, moved.squares), {})

    @timed("layout")
    def run_whole(self, graph: Graph, cut: LatestCut | None = None) -> Contribution:
        """Evaluate an undivided graph, with what is left of the last one if its edges were the same.

        Args:
            graph: whole.
            cut: by which it was found; `run_again` takes structures from there on.
        """
        before = last = self._last
        if last is not None and last.has_edges_of(graph):
            inputs = renewed(last.inputs, graph, last.part)
        else:
            part = whole(len(graph.structure), graph.edges, self._hops)
            inputs = lay_out(graph, part, self._form, self._precision, self._device)
            last = _LaidOut.of(graph, part, inputs, self._outputs, before)
        few = len(graph.edges) <= PREPARED_EDGES
        self._last, self._prepared = last if few else None, None
        # The second structure of the same atoms is taken for a step of something that moves.
        if few and cut is not None and before is not None and before.has_atoms_of(graph.structure):
            follows = len(self._outputs) == 1  # others are summed with what was laid out
            self._prepared = PreparedStep.of(graph.structure, inputs, cut, last.surroundings, follows=follows)
        outputs = self._session(inputs)
        return last.contribution(graph, outputs, self._form)

    @timed("layout")
    def run_on_device(self, cutoff: float, skin: float, structure: Structure) -> Contribution:
        """Evaluate a whole structure on the device of the program, from positions and cell to forces and virial.

        The executor must be one of `Capabilities.steps_on_device`.

        Args:
            cutoff: Å, of the model.
            skin: Å, see `NeighbourList`.
            structure: undivided.

        Raises:
            StructureError: two atoms sit on one point, or the cell is absurdly small.
        """
        topology = self._topology
        if topology is None or not covers(topology.searched, structure, cutoff, skin):
            own = structure.copy()  # as whoever owns the arrays may move atoms in place
            pairs = pairs_within(own, cutoff + skin, self._device)
            topology = Topology.of(own, pairs, cutoff, self._hops, self._precision)
        elif not topology.told.same_conditions(structure):
            topology = topology.telling(structure)
        self._topology = topology
        geometry = topology.geometry(structure)
        outputs = self._session(geometry.inputs)
        return topology.contribution(geometry, outputs, _others(self._outputs, outputs))

    @timed("layout")
    def run_together(self, joint: JointGraph) -> list[Contribution]:
        """Evaluate several whole structures in one call of the program, which the executor must be able to take.

        Sums over edges are taken structure by structure, in the same order as alone. Where each shape has a
        program of its own, inputs are padded to one of few shapes.
        """
        graph = joint.graph
        part = whole(len(graph.structure), graph.edges, self._hops)
        outputs = self._of_few_shapes(lay_out(graph, part, self._form, self._precision, self._device))
        energies, forces, virials = _sums_of_each(joint, part, outputs, self._form)
        named = _others(self._outputs, outputs)
        bounds = [slice(first, last) for first, last in pairwise(joint.atoms.tolist())]
        return [
            Contribution(
                energies[here].copy(),
                forces[here].copy(),
                virial,
                contacts,
                {name: values[here].copy() for name, values in named.items()},
            )
            for here, virial, contacts in zip(bounds, virials, Contacts.of_each(joint), strict=True)
        ]

    def _of_few_shapes(self, inputs: ProgramInputs) -> ProgramOutputs:
        """Run the program, with padding where each shape has one of its own."""
        if not (self.capabilities.shape_by_shape and isinstance(inputs, TableInputs)):
            return self._session(inputs)
        capacity = Capacity.few(inputs)
        return crop(self._session(pad(inputs, capacity)), inputs, capacity)


#: Energies (N,), forces (N, 3), and the virial of one structure, or of each.
_Sums = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _others(declared: tuple[Output, ...], outputs: ProgramOutputs) -> dict[str, NDArray[np.float64]]:
    """What the model says of atoms beside energies, by name."""
    values = zip(declared[1:], outputs.others, strict=True)
    return {str(name): each.double().cpu().numpy() for name, each in values}


@timed("sums")
def _sums_of_each(joint: JointGraph, part: Part, outputs: ProgramOutputs, form: Form) -> _Sums:
    """Of several structures, side by side."""
    pulls = gather_edges(outputs.gradients, part, form).cpu()
    receivers, senders = torch.from_numpy(part.receivers), torch.from_numpy(part.senders)
    forces = forces_from_gradients(pulls, receivers, senders, len(part.atoms))
    of_edges = torch.repeat_interleave(torch.from_numpy(np.diff(joint.edges)))
    virials = virials_from_gradients(pulls, torch.from_numpy(joint.graph.vectors), of_edges, len(joint))
    return outputs.energies.double().cpu().numpy(), forces.numpy(), virials.numpy()


@final
@dataclass(frozen=True, slots=True)
class _LaidOut:
    """An undivided graph, as the program was given it, and what its results follow from."""

    graph: Graph
    part: Part
    inputs: ProgramInputs
    pull: Pull
    surroundings: Surroundings
    outputs: tuple[Output, ...]

    @classmethod
    def of(
        cls,
        graph: Graph,
        part: Part,
        inputs: ProgramInputs,
        outputs: tuple[Output, ...],
        last: _LaidOut | None = None,
    ) -> _LaidOut:
        """Of a graph as one part, its inputs, the declared outputs of the model, and what was laid out before."""
        pull = Pull(part.receivers, part.senders, len(part.atoms))
        if last is not None and last.has_atoms_of(graph.structure):
            surroundings = last.surroundings.of_other_edges(graph.edges.receivers, graph.edges.senders)
        else:
            surroundings = Surroundings.of(graph)
        return cls(graph, part, inputs, pull, surroundings, outputs)

    def has_edges_of(self, graph: Graph) -> bool:
        """Whether another graph has the very edges, between atoms of which a model is told the same."""
        mine = self.graph
        if not (graph.edges is mine.edges and graph.partners is mine.partners and graph.sets is mine.sets):
            return False
        return self.has_atoms_of(graph.structure) and graph.structure.same_conditions(mine.structure)

    def has_atoms_of(self, structure: Structure) -> bool:
        """Whether a structure has the same elements, in order."""
        mine = self.graph.structure.numbers
        return structure.numbers is mine or same_bits(structure.numbers, mine)

    def contribution(self, graph: Graph, outputs: ProgramOutputs, form: Form) -> Contribution:
        """What the outputs mean for a graph with these edges."""
        energies, forces, virial = self._sums(graph, outputs, form)
        contacts = Contacts.of_lengths(self.surroundings, graph.squares)
        others = _others(self.outputs, outputs) if len(outputs) > 2 else {}
        return Contribution(energies, forces, virial, contacts, others)

    @timed("sums")
    def _sums(self, graph: Graph, outputs: ProgramOutputs, form: Form) -> _Sums:
        gradients = gather_edges(outputs.gradients, self.part, form).cpu()
        forces, virial = self.pull.of(gradients, graph.vectors)
        return outputs.energies.double().cpu().numpy(), forces, virial
