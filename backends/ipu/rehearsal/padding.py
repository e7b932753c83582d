"""Whatever stands in padding leaves the outputs as they are, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from ase.data import atomic_numbers
from torch import Tensor

from halocline.backends.ipu.check.call import Violation
from halocline.backends.ipu.rehearsal.subject import RehearsedProgram
from halocline.graph import Graph
from halocline.model.chain import chain
from halocline.program import TableInputs
from halocline.program.capacity import crop, pad

#: Sets of garbage that are tried.
TRIES = 3

#: Å, of vectors in padding: up to some cutoffs long.
LENGTH = 5.0


def rehearse_padding(subject: RehearsedProgram) -> Iterator[Violation]:
    """The largest structure that fits and a single atom, which leaves nearly everything to padding."""
    for graph in (subject.graph, chain(subject.backbone, 1, seed=3)):
        yield from _rehearse(subject, graph)


def _rehearse(subject: RehearsedProgram, graph: Graph) -> Iterator[Violation]:
    inputs, where = subject.lay_out(graph), f"padding around {len(graph.structure)} atoms"
    expected = subject.run(inputs)
    for seed in range(TRIES):
        padded = littered(subject, inputs, seed)
        outputs = subject.run_padded(padded)
        if not all(map(torch.equal, crop(outputs, inputs, subject.capacity), expected)):
            yield Violation("padding", where, "what stands there changes energies or gradients.")
        if outputs.gradients[_spare(padded)].count_nonzero():
            yield Violation("padding", where, "energies depend on vectors there.")


def littered(subject: RehearsedProgram, inputs: TableInputs, seed: int) -> TableInputs:
    """Padded inputs with random species, neighbours and vectors wherever there is padding.

    Args:
        subject: gives species and capacity.
        inputs: before padding.
        seed: of the garbage.
    """
    random = torch.Generator().manual_seed(seed)
    padded = pad(inputs, subject.capacity)
    spare, vacant = _spare(padded), _vacant(subject, inputs)
    known = torch.tensor([atomic_numbers[symbol] for symbol in subject.backbone.species])
    species = known[torch.randint(len(known), padded.species.shape, generator=random)]
    neighbours = torch.randint(padded.levels[0], padded.neighbours.shape, generator=random)
    vectors = LENGTH * torch.randn(padded.vectors.shape, generator=random)
    return replace(
        padded,
        species=padded.species.where(~vacant, species),
        neighbours=padded.neighbours.where(~spare, neighbours),
        vectors=padded.vectors.where(~spare[..., None], vectors),
    )


def _spare(inputs: TableInputs) -> Tensor:
    """Slots without a neighbour."""
    assert inputs.mask is not None
    return inputs.mask == 0


def _vacant(subject: RehearsedProgram, inputs: TableInputs) -> Tensor:
    """Places without an atom: padding repeats the species of the first atom, so those are made distinct."""
    distinct = replace(inputs, species=torch.arange(len(inputs.species)))
    vacant = pad(distinct, subject.capacity).species == 0
    vacant[0] = False
    return vacant
