"""Several whole structures as one set of program inputs, and their outputs taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from halocline.program import ProgramOutputs, TableInputs
from halocline.program.capacity import Capacity, crop, pad
from halocline.program.index_sets import OPPOSITE, SetInputs


def join_tables(inputs: Sequence[TableInputs], capacity: Capacity) -> TableInputs:
    """Put whole structures one after another; no edge leads from one to another.

    Args:
        inputs: all hop levels of each are equal.
        capacity: of the program; the rest is padding.

    Raises:
        UsageError: they do not fit.
    """
    return pad(_concatenate(inputs), capacity)


def split_outputs(
    outputs: ProgramOutputs, inputs: Sequence[TableInputs], capacity: Capacity
) -> list[ProgramOutputs]:
    """The outputs of each structure, from those of the program on what `join_tables` made of them."""
    joint = crop(outputs, _concatenate(inputs), capacity)
    sizes = [len(each.species) for each in inputs]
    parts = zip(inputs, *(torch.split(values, sizes) for values in joint), strict=True)
    return [
        ProgramOutputs(energies, gradients[:, : each.neighbours.shape[1]], *others)
        for each, energies, gradients, *others in parts
    ]


def _concatenate(inputs: Sequence[TableInputs]) -> TableInputs:
    """Block-diagonal tables, as wide as the widest needs."""
    assert all(len(set(each.levels)) == 1 for each in inputs)
    width = max(each.neighbours.shape[1] for each in inputs)
    transposed = max(each.transposed.shape[1] for each in inputs)
    alike = [pad(each, Capacity(each.levels, width, transposed)) for each in inputs]
    starts = list(accumulate((len(each.species) for each in alike), initial=0))
    blocks = list(zip(alike, starts, strict=False))
    zero_slot = width - 1
    return TableInputs(
        species=torch.cat([each.species for each in alike]),
        vectors=torch.cat([each.vectors for each in alike]),
        seeds=torch.cat([each.seeds for each in alike]),
        levels=(starts[-1],) * len(alike[0].levels),
        conditions={name: torch.cat([each.conditions[name] for each in alike]) for name in alike[0].conditions},
        mask=torch.cat([each.mask for each in alike if each.mask is not None]),
        neighbours=torch.cat([each.neighbours + start for each, start in blocks]),
        transposed=torch.cat(
            [
                (each.transposed + start * width).where(each.transposed != zero_slot, zero_slot)
                for each, start in blocks
            ]
        ),
        sets=_concatenate_sets(alike, starts),
    )


def _concatenate_sets(alike: Sequence[TableInputs], starts: Sequence[int]) -> SetInputs:
    """Masks and opposite slots of tables of one width."""
    width, tensors = alike[0].neighbours.shape[1], {}
    for name in alike[0].sets.tensors:
        parts = [each.sets.tensors[name] for each in alike]
        if name == OPPOSITE:
            parts = [
                (slots + start * width).where(slots != width - 1, width - 1)
                for slots, start in zip(parts, starts, strict=False)
            ]
        tensors[name] = torch.cat(parts)
    return SetInputs(alike[0].sets.asked, tensors)
