"""Lay lists and index sets out for a part: which of its edges each rule keeps, and which of them share an atom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.graph import Graph, IndexSets
from halocline.graph.rules import IndexSet, Nearest, Radius, Triplets, single_rules
from halocline.partition.part import Part, ranges
from halocline.program.index_sets import (
    NO_SET_INPUTS,
    OPPOSITE,
    SetInputs,
    ends_of,
    named_index_sets,
    named_rules,
    needs_opposite,
)

Lists = Mapping[Radius | Nearest, NDArray[np.int64]]


def opposites(graph: Graph, part: Part) -> NDArray[np.int64]:
    """The opposite of each edge of a part, (E,) int64; E where it lies outside of the part.

    An edge that is its own opposite has it outside of the graph, as at the rim of a domain.
    """
    partners = graph.edges.partners() if graph.partners is None else graph.partners
    here = np.arange(len(part.edges))
    if part.is_whole:
        found = partners
    else:
        local = np.full(len(graph.edges), len(here))
        local[part.edges] = here
        found = local.take(part.of_edges(partners))
    return np.where(found == here, len(here), found)


def edge_sets(graph: Graph, part: Part, device: torch.device | str) -> SetInputs:
    """Lists and triplets of a part, laid out for flat edges."""
    asked = graph.sets.asked
    if asked is None:
        return NO_SET_INPUTS
    lists = _lists(graph, part)
    tensors: dict[str, NDArray[np.int64]] = {}
    levels: dict[str, tuple[int, ...]] = {}
    for name, rule in named_rules(asked).items():
        tensors[name], levels[name] = lists[rule], _up_to(lists[rule], part.edge_levels)
    opposite = opposites(graph, part) if needs_opposite(asked) else None
    for name, which in named_index_sets(asked).items():
        places = _places_of(which, part, lists, opposite)
        tensors |= {name + end: each for end, each in zip(ends_of(which), places, strict=True)}
        levels[name] = _up_to(lists[which.written].take(places[0]), part.edge_levels)
    return SetInputs(asked, {name: torch.from_numpy(each).to(device) for name, each in tensors.items()}, levels)


def table_sets(graph: Graph, part: Part, slots: NDArray[np.int64], mask: Tensor) -> SetInputs:
    """Lists and triplets of a part, laid out for tables.

    Args:
        graph: of the structure.
        part: of the graph.
        slots: (E,) int64, the flat slot of each edge.
        mask: (rows, k), of all edges; what is made has its shape, dtype and device.
    """
    asked = graph.sets.asked
    if asked is None:
        return NO_SET_INPUTS
    lists, tensors, zero_slot = _lists(graph, part), {}, mask.shape[1] - 1
    for name, rule in named_rules(asked).items():
        kept = np.zeros(mask.numel())
        kept[slots[lists[rule]]] = 1.0
        tensors[name] = torch.from_numpy(kept).view(mask.shape).to(mask)
    if needs_opposite(asked):
        found = np.full(mask.numel(), zero_slot)
        found[slots] = np.append(slots, zero_slot)[opposites(graph, part)]
        tensors[OPPOSITE] = torch.from_numpy(found).view(mask.shape).to(mask.device)
    return SetInputs(asked, tensors)


def _lists(graph: Graph, part: Part) -> Lists:
    """The edges of the part that each rule keeps, (E_r,) int64, increasing."""
    sets = graph.sets
    lists = dict.fromkeys(single_rules(sets.asked), np.arange(len(part.edges)))
    for rule, places in zip(sets.rules, sets.places, strict=True):
        kept = part.of_edges(IndexSets.is_in(places, len(graph.edges)))
        lists[rule] = np.flatnonzero(kept)
    return lists


def _up_to(edges: NDArray[np.int64], levels: tuple[int, ...]) -> tuple[int, ...]:
    """How many of some edges, never decreasing, lie within each level."""
    return tuple(int(count) for count in np.searchsorted(edges, levels))


def _places_of(
    which: IndexSet, part: Part, lists: Lists, opposite: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], ...]:
    """Places in the lists of its rules, one array for each, in their order."""
    if isinstance(which, Triplets):
        return _pairs_of_edges(which, part, lists, opposite)
    inner = _pairs_of_edges(Triplets(which.written, which.between), part, lists, opposite)
    outer = _pairs_of_edges(Triplets(which.between, which.read, "sender"), part, lists, opposite)
    first, last = (np.searchsorted(outer.written, inner.read, side) for side in ("left", "right"))
    written, between = (np.repeat(each, last - first) for each in inner)
    return written, between, outer.read.take(ranges(first, last))


@final
class _Pairs(NamedTuple):
    """Places in the lists of two rules, (T,) int64 each."""

    written: NDArray[np.int64]
    read: NDArray[np.int64]


def _pairs_of_edges(which: Triplets, part: Part, lists: Lists, opposite: NDArray[np.int64] | None) -> _Pairs:
    """Every pair that shares the atom, in the order of the edges written, then of those read."""
    writing, reading = lists[which.written], lists[which.read]
    if which.at == "opposite":
        assert opposite is not None
        return _opposite_pairs(writing, reading, opposite)
    ends = part.receivers if which.at == "receiver" else part.senders
    shared, there = ends.take(writing), part.receivers.take(reading)
    first, last = np.searchsorted(there, shared, "left"), np.searchsorted(there, shared, "right")
    written, read = np.repeat(np.arange(len(writing)), last - first), ranges(first, last)
    if which.at == "receiver":
        same = writing.take(written) == reading.take(read)
    else:
        assert opposite is not None
        same = opposite.take(writing.take(written)) == reading.take(read)
    return _Pairs(written[~same], read[~same])


def _opposite_pairs(writing: NDArray[np.int64], reading: NDArray[np.int64], opposite: NDArray[np.int64]) -> _Pairs:
    """Each edge that is written with its opposite, where that is read."""
    places = np.full(len(opposite) + 1, -1)
    places[reading] = np.arange(len(reading))
    found = places.take(opposite.take(writing))
    written = np.flatnonzero(found >= 0)
    return _Pairs(written, found.take(written))
