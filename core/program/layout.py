"""Lay a part out as program inputs, in the form that an executor wants."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.aggregation import Form
from halocline.graph import Graph, Structure
from halocline.graph.compiled import address, plain, steps
from halocline.partition.part import Part
from halocline.program.capabilities import Precision
from halocline.program.inputs import EdgeInputs, ProgramInputs, TableInputs
from halocline.program.set_layout import edge_sets, opposites, table_sets


def lay_out(
    graph: Graph, part: Part, form: Form, precision: Precision, device: torch.device | str = "cpu"
) -> ProgramInputs:
    """Turn a part of a graph into tensors.

    Vectors were formed in float64 and are cast here, once.
    """
    vectors = part.of_edges(graph.vectors)
    if form is Form.EDGES:
        inputs: ProgramInputs = _edge_inputs(graph, part, vectors, precision, device)
    else:
        inputs = _table_inputs(graph, part, vectors, precision, device)
    return inputs


def renewed(inputs: ProgramInputs, graph: Graph, part: Part) -> ProgramInputs:
    """The same part laid out again, where nothing but the positions has changed.

    Args:
        inputs: of this part, from `lay_out`.
        graph: with the same edges.
        part: the very part.
    """
    vectors = part.of_edges(graph.vectors)
    if isinstance(inputs, TableInputs):
        vectors = _padded(vectors, edge_slots(part), inputs.vectors.shape[:2])
    return inputs.moved(torch.from_numpy(vectors).to(inputs.vectors))


def condition_tensors(
    structure: Structure, precision: Precision, device: torch.device | str, part: Part | None = None
) -> dict[str, Tensor]:
    """Tensors of conditions, name → (n,), of the atoms of a part or of all."""
    tensors = {}
    for name, values in structure.conditions.items():
        dtype = precision.torch if values.dtype == np.float64 else torch.int64
        chosen = values if part is None else values.take(part.atoms, axis=0)
        tensors[name] = torch.from_numpy(chosen).to(device, dtype)
    return tensors


def edge_slots(part: Part) -> NDArray[np.int64]:
    """The flat table slot of each edge, (E,): row = receiver, column = position among the receiver's edges."""
    counts, width = _rows(part)
    starts = np.cumsum(counts) - counts
    return part.receivers * width + np.arange(len(part.edges)) - starts[part.receivers]


def gather_edges(gradients: Tensor, part: Part, form: Form) -> Tensor:
    """Bring per-edge outputs [..., *] back to one row for each edge of the part, (E, *)."""
    if form is Form.EDGES:
        return gradients
    slots = torch.from_numpy(edge_slots(part)).to(gradients.device)
    return gradients.flatten(0, 1).index_select(0, slots)


def _edge_inputs(
    graph: Graph, part: Part, vectors: NDArray[np.float64], precision: Precision, device: torch.device | str
) -> EdgeInputs:
    pairs, pair_of, opposite = _pairs(graph, part)
    rows = part.levels[-2] if len(part.levels) > 1 else 0
    return EdgeInputs(
        species=torch.from_numpy(graph.structure.numbers.take(part.atoms)).to(device),
        conditions=condition_tensors(graph.structure, precision, device, part),
        vectors=torch.from_numpy(vectors).to(device, precision.torch),
        seeds=torch.ones(part.levels[0], dtype=precision.torch, device=device),
        levels=part.levels,
        mask=None,
        senders=torch.from_numpy(part.senders).to(device),
        receivers=torch.from_numpy(part.receivers).to(device),
        edge_levels=part.edge_levels,
        pairs=None if pairs is None else torch.from_numpy(pairs).to(device),
        pair_of=None if pair_of is None else torch.from_numpy(pair_of).to(device),
        pair_levels=() if pairs is None else tuple(int(p) for p in np.searchsorted(pairs, part.edge_levels)),
        row_starts=torch.from_numpy(np.searchsorted(part.receivers, np.arange(rows))).to(device),
        opposite=None if opposite is None else torch.from_numpy(opposite).to(device),
        sets=edge_sets(graph, part, device),
    )


def _pairs(
    graph: Graph, part: Part
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | tuple[None, None, None]:
    """The first edge of each pair in the part, (P,), and for each edge its pair and its opposite edge, (E,).

    An edge whose opposite lies outside the part is a pair of its own. As the first edge stands for its pair, any
    prefix of the edges needs just a prefix of the pairs.
    """
    if graph.partners is None:
        return None, None, None
    if part.is_whole and steps.functions is not None:
        return _pairs_of_whole(steps.functions, graph.partners)
    here, opposite = np.arange(len(part.edges)), opposites(graph, part)
    opens = opposite >= here
    return np.flatnonzero(opens), (np.cumsum(opens) - 1).take(np.minimum(here, opposite)), opposite


def _pairs_of_whole(
    functions: ctypes.CDLL, partners: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The same of a whole graph, in one pass."""
    partners = plain(partners, np.int64)
    first, pair_of, opposite = np.empty((3, len(partners)), np.int64)
    count = functions.pairs(len(partners), *map(address, (partners, first, pair_of, opposite)))
    return first[:count], pair_of, opposite


def _table_inputs(
    graph: Graph, part: Part, vectors: NDArray[np.float64], precision: Precision, device: torch.device | str
) -> TableInputs:
    counts, width = _rows(part)
    slots = edge_slots(part)
    neighbours = np.zeros(len(counts) * width, np.int64)
    neighbours[slots] = part.senders
    mask = np.zeros(len(counts) * width)
    mask[slots] = 1.0
    padded = _padded(vectors, slots, (len(counts), width))
    of_slots = torch.from_numpy(mask.reshape(-1, width)).to(device, precision.torch)
    return TableInputs(
        species=torch.from_numpy(graph.structure.numbers.take(part.atoms)).to(device),
        conditions=condition_tensors(graph.structure, precision, device, part),
        vectors=torch.from_numpy(padded).to(device, precision.torch),
        seeds=torch.ones(part.levels[0], dtype=precision.torch, device=device),
        levels=part.levels,
        mask=of_slots,
        neighbours=torch.from_numpy(neighbours.reshape(-1, width)).to(device),
        transposed=torch.from_numpy(_transposed(part, slots, width)).to(device),
        sets=table_sets(graph, part, slots, of_slots),
    )


def _padded(vectors: NDArray[np.float64], slots: NDArray[np.int64], shape: Sequence[int]) -> NDArray[np.float64]:
    """Vectors (E, 3) in their slots of a table of a shape (rows, width), zeros elsewhere."""
    padded = np.zeros((shape[0] * shape[1], 3))
    padded[slots] = vectors
    return padded.reshape(*shape, 3)


def _rows(part: Part) -> tuple[NDArray[np.int64], int]:
    """Edges of each receiver that has a row, and the width of the table: one slot is always padding."""
    rows = part.levels[-2] if len(part.levels) > 1 else 0
    counts = np.bincount(part.receivers, minlength=rows)
    return counts, int(counts.max(initial=0)) + 1


def _transposed(part: Part, slots: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """For each atom read, the slots that hold it; the zero slot ``width - 1`` where there are fewer."""
    order = np.argsort(part.senders, kind="stable")
    counts = np.bincount(part.senders, minlength=part.levels[-1])
    table = np.full((part.levels[-1], max(1, int(counts.max(initial=0)))), width - 1, np.int64)
    column = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[part.senders[order], column] = slots[order]
    return table
