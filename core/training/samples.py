"""Frames with their labels, and batches of them: one graph of several frames, laid out once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.aggregation import Form
from halocline.data.labels import UNLABELLED, Labels
from halocline.graph import Graph, JointGraph
from halocline.partition import whole
from halocline.program import EdgeInputs, Precision
from halocline.program.layout import lay_out
from halocline.training.steps import ONE_FRAME, StepSize


class LabelCounts(NamedTuple):
    """How many labels the frames of a step carry, whoever computes them: the divisors of its means.

    Attributes:
        energies: frames with an energy.
        forces: atoms with forces.
        stresses: frames with a stress.
    """

    energies: int
    forces: int
    stresses: int = 0

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> LabelCounts:
        """Count the labels of several frames."""
        return cls.total([sample.counts for sample in samples])

    @classmethod
    def total(cls, counts: Sequence[LabelCounts]) -> LabelCounts:
        """Add up the counts of several frames."""
        return cls(*(sum(labels) for labels in zip(*counts, strict=True))) if counts else cls(0, 0)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One structure of N atoms with its labels.

    Attributes:
        graph: with the model's own edges.
        labels: of the structure.
        reference: eV, sum of its elements' reference energies.
        taught: what a teacher says of it; None if there is none, or it says nothing.
    """

    graph: Graph
    labels: Labels
    reference: float
    taught: Labels | None = None

    @property
    def lesson(self) -> Sample:
        """The same structure, with what the teacher says in the place of labels."""
        return Sample(self.graph, self.taught or UNLABELLED, self.reference)

    @property
    def atoms(self) -> int:
        """N."""
        return len(self.graph.structure)

    @property
    def cost(self) -> int:
        """Of evaluating it, in atoms and edges."""
        return self.atoms + len(self.graph.edges)

    @property
    def counts(self) -> LabelCounts:
        """Of its labels."""
        labels = self.labels
        forces = self.atoms * int(labels.forces is not None)
        return LabelCounts(int(labels.energy is not None), forces, int(self.has_stress))

    @property
    def energy(self) -> float:
        """What the network is fitted to, eV: without reference energies; 0 where there is no label."""
        return 0.0 if self.labels.energy is None else self.labels.energy - self.reference

    @property
    def forces(self) -> NDArray[np.float64]:
        """(N, 3), eV/Å; zeros where there is no label."""
        return np.zeros((self.atoms, 3)) if self.labels.forces is None else self.labels.forces

    @property
    def stress(self) -> NDArray[np.float64]:
        """(3, 3), eV/Å³; zeros where there is no label."""
        stress = self.labels.stress if self.has_stress else None
        return np.zeros((3, 3)) if stress is None else stress

    @property
    def has_stress(self) -> bool:
        """Whether there is a label of the stress, and a volume, without which none has a meaning."""
        return self.labels.stress is not None and self.graph.structure.volume is not None


class Targets(NamedTuple):
    """What the predictions for S structures with N atoms in all are compared with; float64.

    A label that is missing is zero and weighs nothing.

    Attributes:
        energies: (S,) eV, reference energies of the elements taken out.
        has_energy: (S,) 1 or 0.
        forces: (N, 3), eV/Å.
        has_forces: (N, 1) 1 or 0.
        stresses: (S, 3, 3), eV/Å³, tension positive.
        has_stress: (S,) 1 or 0.
    """

    energies: Tensor
    has_energy: Tensor
    forces: Tensor
    has_forces: Tensor
    stresses: Tensor
    has_stress: Tensor

    @classmethod
    def of(cls, samples: Sequence[Sample], device: torch.device) -> Targets:
        """The labels of some structures, at least one."""
        counts = [sample.counts for sample in samples]

        def made(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device=device)

        labelled = np.repeat([float(count.forces > 0) for count in counts], [sample.atoms for sample in samples])
        return cls(
            energies=made([sample.energy for sample in samples]),
            has_energy=made([count.energies for count in counts]),
            forces=torch.from_numpy(np.concatenate([sample.forces for sample in samples])).to(device),
            has_forces=torch.from_numpy(labelled[:, None]).to(device),
            stresses=torch.from_numpy(np.stack([sample.stress for sample in samples])).to(device),
            has_stress=made([count.stresses for count in counts]),
        )


@final
class Batch:
    """S structures with N atoms in all. No dataclass: Fabric would take one apart and cast its tensors.

    Args:
        samples: at least one.
        hops: receptive field of the model.
        precision: of the vectors.
        device: of the tensors.

    Attributes:
        inputs: all structures side by side.
        structures: (N,) int64, the structure of each atom.
        sizes: (S,) float64, atoms of each structure.
        positions: (N, 3) float64, Å.
        periodic: of each structure, whether it is periodic in any direction.
        volumes: (S,) float64, Å³; 1 where a structure is not periodic in all three directions.
        targets: their labels.
        lessons: what a teacher says of them; None if it says nothing of any.
    """

    def __init__(self, samples: Sequence[Sample], hops: int, precision: Precision, device: torch.device) -> None:
        joint = JointGraph.of([sample.graph for sample in samples])
        part = whole(len(joint.graph.structure), joint.graph.edges, hops)
        inputs = lay_out(joint.graph, part, Form.EDGES, precision, device)
        assert isinstance(inputs, EdgeInputs)
        self.inputs = inputs
        self.structures = torch.from_numpy(joint.of_atoms).to(device)
        self.sizes = torch.tensor([sample.atoms for sample in samples], dtype=torch.float64, device=device)
        structures = [sample.graph.structure for sample in samples]
        self.positions = torch.from_numpy(np.concatenate([each.positions for each in structures])).to(device)
        self.periodic = [bool(each.pbc.any()) for each in structures]
        volumes = [each.volume or 1.0 for each in structures]
        self.volumes = torch.tensor(volumes, dtype=torch.float64, device=device)
        self.targets = Targets.of(samples, device)
        taught = any(sample.taught is not None for sample in samples)
        self.lessons = Targets.of([sample.lesson for sample in samples], device) if taught else None


@final
class Batches:
    """Makes the batches of a fit. Where each step is one frame they come again in every epoch, so they are kept.

    Args:
        size: of a step; of one frame, every batch is kept on the device.
        hops: receptive field of the model.
        precision: of the vectors.
        device: of the tensors.
        keep: whether there is room for that.
    """

    def __init__(
        self, size: StepSize, hops: int, precision: Precision, device: torch.device, *, keep: bool = True
    ) -> None:
        self.size = size
        self._hops, self._precision, self._device = hops, precision, device
        self._keeps = keep and size == ONE_FRAME
        self._kept: dict[Sample, Batch] = {}

    def of(self, samples: Sequence[Sample]) -> Batch:
        """The batch of some frames, at least one."""
        if not self._keeps:
            return self._made(samples)
        (sample,) = samples
        if sample not in self._kept:
            self._kept[sample] = self._made(samples)
        return self._kept[sample]

    def _made(self, samples: Sequence[Sample]) -> Batch:
        return Batch(samples, self._hops, self._precision, self._device)
