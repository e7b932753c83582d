"""Join the inputs of several whole structures into one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from halocline.program.inputs import EdgeInputs


def join(inputs: Sequence[EdgeInputs]) -> tuple[EdgeInputs, Tensor]:
    """Concatenate structures; atoms keep their order, and no edge leads from one structure to another.

    Args:
        inputs: whole structures for the same program: all hop levels of each are equal, nothing is padded.

    Returns:
        The joint inputs, and for each of their N atoms the number of its structure, (N,) int64.
    """
    assert all(len(set(each.levels)) == 1 and each.mask is None for each in inputs)
    sizes = torch.tensor([each.levels[0] for each in inputs], device=inputs[0].species.device)
    structures = torch.repeat_interleave(torch.arange(len(inputs), device=sizes.device), sizes)
    if len(inputs) == 1:
        return inputs[0], structures
    offsets = (sizes.cumsum(0) - sizes).tolist()
    joint = EdgeInputs(
        species=torch.cat([each.species for each in inputs]),
        vectors=torch.cat([each.vectors for each in inputs]),
        seeds=torch.cat([each.seeds for each in inputs]),
        levels=_sums([each.levels for each in inputs]),
        mask=None,
        senders=torch.cat([each.senders + start for each, start in zip(inputs, offsets, strict=True)]),
        receivers=torch.cat([each.receivers + start for each, start in zip(inputs, offsets, strict=True)]),
        edge_levels=_sums([each.edge_levels for each in inputs]),
    )
    return joint, structures


def _sums(counts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*counts, strict=True))
