"""What one step of training takes: a pack of labelled structures as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from halocline.backends.ipu.packing import pack_inputs
from halocline.errors import UsageError
from halocline.graph import Graph
from halocline.lowering import flatten
from halocline.program.capacity import Capacity


@final
@dataclass(frozen=True, slots=True)
class Labelled:
    """A whole structure with its labels.

    Attributes:
        graph: of its N atoms.
        energy: eV, without reference energies.
        forces: (N, 3), eV/Å.
    """

    graph: Graph
    energy: float
    forces: NDArray[np.float64]


def step_arrays(samples: Sequence[Labelled], capacity: Capacity, structures: int) -> list[NDArray[Any]]:
    """The arguments of `runner.PackedLoss` for one pack; absent structures and atoms carry no weight.

    Args:
        samples: that go into the pack.
        capacity: of the program.
        structures: places for structures in each pack, the same for all packs.

    Raises:
        UsageError: they do not fit.
    """
    if len(samples) > structures:
        raise UsageError(
            f"A pack has places for {structures} structures, not for {len(samples)}; make packs smaller."
        )
    joint = pack_inputs([each.graph for each in samples], capacity)
    sizes = [len(each.forces) for each in samples]
    members = np.zeros((structures, capacity.levels[0]), np.float32)
    members[np.repeat(np.arange(len(sizes)), sizes), np.arange(sum(sizes))] = 1.0
    energies, present = np.zeros((2, structures), np.float32)
    energies[: len(samples)] = [each.energy for each in samples]
    present[: len(samples)] = 1.0
    forces = np.zeros((capacity.levels[0], 3), np.float32)
    forces[: sum(sizes)] = np.concatenate([each.forces for each in samples])
    # Where sizes are fixed there are no inputs that only tell a size; those come after the seeds.
    tensors = flatten(joint)
    seeds = next(number for number, tensor in enumerate(tensors) if tensor is joint.seeds)
    return [*(tensor.numpy() for tensor in tensors[: seeds + 1]), members, energies, present, forces]
