"""A program under rehearsal: what to run, on what, and what should come out."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.aggregation import Form
from halocline.backends.ipu.program_file import IpuProgram
from halocline.backends.ipu.runner import Replay, read_program, require_inputs
from halocline.errors import LoweringError
from halocline.evaluator.result import Result
from halocline.graph import Graph, NeighbourList, Structure
from halocline.lowering import flatten
from halocline.model.backbone import Backbone
from halocline.model.chain import chain
from halocline.partition import Part, whole
from halocline.program import (
    Capabilities,
    FrozenModel,
    Precision,
    ProgramInputs,
    ProgramOutputs,
    TableInputs,
    energies_and_gradients,
)
from halocline.program.capacity import Capacity, crop, pad
from halocline.program.layout import gather_edges, lay_out
from halocline.testing.evaluate import sum_parts

#: Atoms of the largest chain that is tried.
LARGEST_CHAIN = 24


@final
class RehearsedProgram:
    """A program beside the backbone that it was lowered from.

    Args:
        program: written to a file and read again by the runner, so that the file is what runs.
        backbone: stays as it is.
        capacity: with which it was lowered.

    Raises:
        LoweringError: the capacity holds not even one atom.
    """

    def __init__(self, program: IpuProgram, backbone: Backbone, capacity: Capacity) -> None:
        self.program, self.backbone, self.capacity = program, backbone, capacity
        self.replay = load_replay(program)
        self._exact = FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(Form.TABLE))
        self.graph = self.largest(LARGEST_CHAIN)

    def largest(self, limit: int) -> Graph:
        """The largest chain that fits.

        Args:
            limit: of its atoms.

        Raises:
            LoweringError: no structure of the backbone fits.
        """
        for atoms in range(limit, 0, -1):
            graph = chain(self.backbone, atoms, seed=3)
            if self.capacity.holds(self.lay_out(graph)):
                return graph
        raise LoweringError(f"{self.capacity} holds no structure of {self.backbone.name!r}; give it more room.")

    def lay_out(self, graph: Graph) -> TableInputs:
        """A whole structure, before it is padded."""
        inputs = lay_out(graph, self._part(graph), Form.TABLE, Precision.FLOAT32)
        assert isinstance(inputs, TableInputs)
        return inputs

    def tensors(self, inputs: TableInputs) -> tuple[Tensor, ...]:
        """The tensors that the program is given, in the order of its inputs.

        Raises:
            UsageError: the structure is larger than the capacity.
            ValueError: padding does not give what the program declares.
        """
        tensors = flatten(pad(inputs, self.capacity))[: len(self.program.inputs)]
        declared = [{**asdict(value), "shape": list(value.shape)} for value in self.program.inputs]
        require_inputs([tensor.numpy() for tensor in tensors], declared)
        return tensors

    def run(self, inputs: ProgramInputs) -> ProgramOutputs:
        """Pad the inputs, replay the program in torch, and crop its outputs to what was not padding."""
        assert isinstance(inputs, TableInputs)
        return crop(self.run_padded(inputs), inputs, self.capacity)

    def run_edges(self, graph: Graph) -> ProgramOutputs:
        """The outputs of a whole structure, with gradients (E, 3) of its edges."""
        energies, gradients, *others = self.run(self.lay_out(graph))
        return ProgramOutputs(energies, gather_edges(gradients, self._part(graph), Form.TABLE), *others)

    def run_padded(self, inputs: TableInputs) -> ProgramOutputs:
        """Replay in torch; results of padding are kept."""
        with torch.no_grad():
            return ProgramOutputs(*self.replay(*self.tensors(inputs)))

    def evaluate(self, graph: Graph) -> Result:
        """Energies, forces and virial as the program gives them."""
        return sum_parts(
            self.run, graph, [self._part(graph)], Form.TABLE, Precision.FLOAT32, shapes=self.backbone.shapes
        )

    def evaluate_exactly(self, graph: Graph) -> Result:
        """The result of the backbone itself on a graph, in float64."""
        run = partial(energies_and_gradients, self._exact.backbone)
        return sum_parts(
            run, graph, [self._part(graph)], Form.TABLE, Precision.FLOAT64, shapes=self.backbone.shapes
        )

    def moved(self, structure: Structure, positions: NDArray[np.float64]) -> Graph:
        """The graph of a structure with other positions."""
        return NeighbourList(self.backbone.neighbours).graph(replace(structure, positions=positions))

    def _part(self, graph: Graph) -> Part:
        return whole(len(graph.structure), graph.edges, self.backbone.hops)


def load_replay(program: IpuProgram) -> Replay:
    """The program as the runner runs it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "program.ipu.zip"
        program.write(path)
        return Replay(*read_program(path)).eval()
