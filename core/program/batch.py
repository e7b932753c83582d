"""Join the inputs of several whole structures into one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from halocline.graph.rules import NeighbourRule, single_rules
from halocline.program.index_sets import READ, WRITTEN, SetInputs, named_rules, named_triplets
from halocline.program.inputs import EdgeInputs


def join(inputs: Sequence[EdgeInputs]) -> tuple[EdgeInputs, Tensor]:
    """Concatenate structures; atoms keep their order, and no edge leads from one structure to another.

    Args:
        inputs: whole structures for the same program: all hop levels of each are equal, nothing is padded.

    Returns:
        The joint inputs, and for each of their N atoms the number of its structure, (N,) int64.
    """
    assert all(len(set(each.levels)) == 1 and each.mask is None for each in inputs)
    sizes = torch.tensor([len(each.species) for each in inputs], device=inputs[0].species.device)
    structures = torch.repeat_interleave(torch.arange(len(inputs), device=sizes.device), sizes)
    if len(inputs) == 1:
        return inputs[0], structures
    atoms, edges = _starts([each.species for each in inputs]), _starts([each.senders for each in inputs])
    pairs, pair_of, pair_levels = _join_pairs(inputs, edges)
    joint = EdgeInputs(
        species=torch.cat([each.species for each in inputs]),
        vectors=torch.cat([each.vectors for each in inputs]),
        seeds=torch.cat([each.seeds for each in inputs]),
        levels=_sums([each.levels for each in inputs]),
        mask=None,
        conditions={name: torch.cat([each.conditions[name] for each in inputs]) for name in inputs[0].conditions},
        senders=_renumbered([each.senders for each in inputs], atoms),
        receivers=_renumbered([each.receivers for each in inputs], atoms),
        edge_levels=_sums([each.edge_levels for each in inputs]),
        pairs=pairs,
        pair_of=pair_of,
        pair_levels=pair_levels,
        row_starts=_joined([each.row_starts for each in inputs], edges),
        opposite=_joined([each.opposite for each in inputs], edges),
        sets=_join_sets([each.sets for each in inputs], edges),
    )
    return joint, structures


def _join_pairs(
    inputs: Sequence[EdgeInputs], edges: Sequence[int]
) -> tuple[Tensor, Tensor, tuple[int, ...]] | tuple[None, None, tuple[()]]:
    """Opposite edges of all structures, if each structure knows its own."""
    pairs = [each.pairs for each in inputs if each.pairs is not None]
    pair_of = [each.pair_of for each in inputs if each.pair_of is not None]
    if len(pairs) < len(inputs) or len(pair_of) < len(inputs):
        return None, None, ()
    levels = _sums([each.pair_levels for each in inputs])
    return _renumbered(pairs, edges), _renumbered(pair_of, _starts(pairs)), levels


def _joined(indices: Sequence[Tensor | None], starts: Sequence[int]) -> Tensor | None:
    """Join what all structures know, or nothing."""
    known = [index for index in indices if index is not None]
    return _renumbered(known, starts) if len(known) == len(indices) else None


def _join_sets(sets: Sequence[SetInputs], edges: Sequence[int]) -> SetInputs:
    """Lists and triplets of all structures; places count from the start of the list that they are in."""
    asked = sets[0].asked
    tensors: dict[str, Tensor] = {}
    starts: dict[NeighbourRule, Sequence[int]] = dict.fromkeys(single_rules(asked), edges)
    for name, rule in named_rules(asked).items():
        places = [each.tensors[name] for each in sets]
        tensors[name], starts[rule] = _renumbered(places, edges), _starts(places)
    for name, which in named_triplets(asked).items():
        for end, rule in ((WRITTEN, which.written), (READ, which.read)):
            tensors[name + end] = _renumbered([each.tensors[name + end] for each in sets], starts[rule])
    levels = {name: _sums([each.levels[name] for each in sets]) for name in sets[0].levels}
    return SetInputs(asked, tensors, levels)


def _starts(parts: Sequence[Tensor]) -> list[int]:
    """Where each part begins once all are joined."""
    return list(accumulate((len(part) for part in parts[:-1]), initial=0))


def _renumbered(indices: Sequence[Tensor], starts: Sequence[int]) -> Tensor:
    """Join indices that each count from the start of their own part."""
    return torch.cat([index + start for index, start in zip(indices, starts, strict=True)])


def _sums(counts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*counts, strict=True))
