"""Frames as tensors, made once, and batches joined from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from halocline.aggregation import Form
from halocline.graph import Graph
from halocline.partition import whole
from halocline.program import EdgeInputs, Precision
from halocline.program.batch import join
from halocline.program.layout import lay_out
from halocline.training.labels import Labels


class LabelCounts(NamedTuple):
    """How many labels the frames of a step carry, whoever computes them: the divisors of its means.

    Attributes:
        energies: frames with an energy.
        forces: atoms with forces.
    """

    energies: int
    forces: int

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> LabelCounts:
        """Count the labels of several frames."""
        counts = [sample.counts for sample in samples]
        return cls(sum(each.energies for each in counts), sum(each.forces for each in counts))


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """One structure of N atoms with its labels. A label that is missing is zero and weighs nothing.

    Attributes:
        inputs: the structure as one part.
        energy: (1,) float64, eV, reference energies of the elements taken out.
        energy_weight: (1,) float64, 1 or 0.
        forces: (N, 3) float64, eV/Å.
        force_weights: (N, 1) float64, 1 or 0.
        counts: of the labels.
        cost: of evaluating it, in atoms and edges.
    """

    inputs: EdgeInputs
    energy: Tensor
    energy_weight: Tensor
    forces: Tensor
    force_weights: Tensor
    counts: LabelCounts
    cost: int

    @classmethod
    def make(
        cls, graph: Graph, labels: Labels, reference: float, hops: int, precision: Precision, device: torch.device
    ) -> Sample:
        """Lay out one structure.

        Args:
            graph: with the model's own edges.
            labels: of the structure.
            reference: eV, sum of its elements' reference energies.
            hops: receptive field of the model.
            precision: of the vectors.
            device: where to keep the tensors.
        """
        atoms = len(graph.structure)
        inputs = lay_out(graph, whole(atoms, graph.edges, hops), Form.EDGES, precision, device)
        assert isinstance(inputs, EdgeInputs)
        energy = 0.0 if labels.energy is None else labels.energy - reference
        forces = np.zeros((atoms, 3)) if labels.forces is None else labels.forces
        return cls(
            inputs=inputs,
            energy=torch.tensor([energy], dtype=torch.float64, device=device),
            energy_weight=torch.tensor([labels.energy is not None], dtype=torch.float64, device=device),
            forces=torch.tensor(forces, dtype=torch.float64, device=device),
            force_weights=torch.full((atoms, 1), labels.forces is not None, dtype=torch.float64, device=device),
            counts=LabelCounts(int(labels.energy is not None), atoms * int(labels.forces is not None)),
            cost=atoms + len(graph.edges),
        )


@final
class Batch:
    """S structures with N atoms in all. No dataclass: Fabric would take one apart and cast its tensors.

    Attributes:
        inputs: all structures joined.
        structures: (N,) int64, the structure of each atom.
        sizes: (S,) float64, atoms of each structure.
        energies: (S,) float64, eV.
        energy_weights: (S,) float64.
        forces: (N, 3) float64, eV/Å.
        force_weights: (N, 1) float64.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.inputs, self.structures = join([sample.inputs for sample in samples])
        self.sizes = torch.bincount(self.structures, minlength=len(samples)).double()
        self.energies = torch.cat([sample.energy for sample in samples])
        self.energy_weights = torch.cat([sample.energy_weight for sample in samples])
        self.forces = torch.cat([sample.forces for sample in samples])
        self.force_weights = torch.cat([sample.force_weights for sample in samples])
