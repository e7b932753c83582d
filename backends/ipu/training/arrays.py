"""What one step of training takes: packs of labelled structures as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ipu.packing import pack, pack_inputs
from halocline.backends.ipu.training.room import Room
from halocline.errors import UsageError
from halocline.lowering import flatten
from halocline.training.samples import LabelCounts, Sample


@final
@dataclass(frozen=True, slots=True)
class StepArrays:
    """Makes the arrays of steps.

    Attributes:
        room: of the program and of a step.
        names: of all inputs that the model may have, in the order of `flatten`.
        inputs: of those, the ones that the program has.
        with_forces: whether it is trained on forces.
    """

    room: Room
    names: tuple[str, ...]
    inputs: tuple[str, ...]
    with_forces: bool

    def of(self, samples: Sequence[Sample], energy: float, forces: float) -> list[NDArray[Any]]:
        """The arguments of `runner.PackedLoss` for a whole step, each with all packs behind one another.

        With these weights, what the packs add up to is energy · mean (ΔE / N)² + forces · mean (ΔF)², over the
        structures and over the components of the forces that carry the label.

        Args:
            samples: of the step.
            energy: weight of the squares of energy errors, per (eV/atom)².
            forces: weight of the squares of force errors, per (eV/Å)².

        Raises:
            UsageError: they do not fit.
        """
        counts = LabelCounts.of(samples)
        scales = energy / max(1, counts.energies), forces / (3.0 * max(1, counts.forces))
        packed = pack([sample.atoms for sample in samples], self.room.atoms, self.room.structures)
        if len(packed) > self.room.packs:
            raise UsageError(
                f"A step of {len(samples)} structures takes {len(packed)} packs, and has {self.room.packs}."
            )
        packs = [self._of_pack([samples[i] for i in numbers], *scales) for numbers in packed]
        # A pack that is not needed is one of the others once more, without any weight.
        packs += [self._weightless(packs[0])] * (self.room.packs - len(packs))
        return [np.concatenate(each) for each in zip(*packs, strict=True)]

    def _of_pack(self, samples: Sequence[Sample], energy: float, forces: float) -> list[NDArray[Any]]:
        tensors = flatten(pack_inputs([sample.graph for sample in samples], self.room.capacity))
        # Where sizes are fixed there are no inputs that only tell a size; those come last.
        named = dict(zip(self.names, tensors, strict=False))
        arrays = [named[name].numpy() for name in self.inputs] + self._energies(samples, energy)
        return arrays + (self._forces(samples, forces) if self.with_forces else [])

    def _energies(self, samples: Sequence[Sample], scale: float) -> list[NDArray[Any]]:
        """Members (G, N), energies (G,) and their weights (G,)."""
        sizes = np.array([sample.atoms for sample in samples])
        members = np.zeros((self.room.structures, self.room.atoms), np.float32)
        members[np.repeat(np.arange(len(sizes)), sizes), np.arange(sizes.sum())] = 1.0
        energies, weights = np.zeros((2, self.room.structures), np.float32)
        energies[: len(sizes)] = [sample.energy for sample in samples]
        weights[: len(sizes)] = scale * np.array([sample.counts.energies for sample in samples]) / sizes**2
        return [members, energies, weights]

    def _forces(self, samples: Sequence[Sample], scale: float) -> list[NDArray[Any]]:
        """Forces (N, 3) and their weights (N,)."""
        forces, weights = np.zeros((self.room.atoms, 3), np.float32), np.zeros(self.room.atoms, np.float32)
        together = np.concatenate([sample.forces for sample in samples])
        labelled = np.repeat([float(sample.counts.forces > 0) for sample in samples], [s.atoms for s in samples])
        forces[: len(together)], weights[: len(together)] = together, scale * labelled
        return [forces, weights]

    def _weightless(self, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        places = [len(self.inputs) + 2] + ([len(self.inputs) + 4] if self.with_forces else [])
        return [np.zeros_like(array) if i in places else array for i, array in enumerate(arrays)]
