"""What a single stage reads, to trace it with and to check it against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from halocline.graph import Graph, IndexSets
from halocline.model.backbone import Backbone
from halocline.model.chain import chain
from halocline.model.stage import Stage, State
from halocline.partition import Part, cut_part, whole
from halocline.program.inputs import ProgramInputs, TableInputs
from halocline.program.layout import edge_slots, gather_edges, lay_out

if TYPE_CHECKING:
    from halocline.program.frozen import FrozenModel

#: Atoms of a chain, and how many of them the stage writes.
_SIZES = ((40, 3), (52, 5), (6, 6))

#: Of the chain that a part which owns nothing is cut out of.
_ATOMS = 8


def stage_inputs(frozen: FrozenModel, name: str) -> list[tuple[State, ProgramInputs]]:
    """State and edges of one stage, on parts of several sizes.

    The stages before it run on all atoms of a chain; what the stage reads is cut out of their state.
    """
    backbone = frozen.backbone
    hops = dict(backbone.stages())[name].spec.hops
    cases = []
    for atoms, owned in _SIZES:
        graph = chain(backbone, atoms, seed=atoms)
        everything = whole(atoms, graph.edges, backbone.hops)
        state = _state_before(backbone, name, lay_out(graph, everything, frozen.form, frozen.precision))
        part = cut_part(np.arange(atoms) < owned, graph.edges, hops)
        rows, inputs = torch.from_numpy(part.atoms), lay_out(graph, part, frozen.form, frozen.precision)
        atoms_read = {key: values[rows] for key, values in state.atoms.items()}
        edges_read = {
            key: _cut_edges(gather_edges(values, everything, frozen.form), graph, part, inputs)
            for key, values in state.edges.items()
        }
        cases.append((State(atoms_read, edges_read), inputs))
    return cases


def finds_moving_state(backbone: Backbone, name: str) -> bool:
    """Whether what a stage reads can depend on positions: whether some stage before it has hops."""
    return any(stage.spec.hops for stage in _stages_before(backbone, name))


def nothing_owned(frozen: FrozenModel, state: State, hops: int) -> tuple[State, ProgramInputs]:
    """What a stage of so many hops finds where no atom is owned; ``state`` is an example of what it reads."""
    graph = chain(frozen.backbone, _ATOMS, seed=0)
    part = cut_part(np.zeros(_ATOMS, np.bool_), graph.edges, hops)
    inputs = lay_out(graph, part, frozen.form, frozen.precision)
    lead = len(inputs.vectors.shape) - 1
    edges = {
        name: values.new_zeros((*inputs.vectors.shape[:-1], *values.shape[lead:]))
        for name, values in state.edges.items()
    }
    return State(state.first(0).atoms, edges), inputs


def _state_before(backbone: Backbone, name: str, inputs: ProgramInputs) -> State:
    """Run the stages that come before one, on all atoms."""
    state = inputs.first_state()
    for stage in _stages_before(backbone, name):
        state = stage(state, *inputs.blocks(stage.spec.neighbours, [0] * stage.spec.hops, inputs.vectors))
    return state.first(len(inputs.species)) if name.startswith("readouts") else state


def _stages_before(backbone: Backbone, name: str) -> list[Stage]:
    group, _, number = name.partition(".")
    before = {"embed": -1, "layers": int(number or 0), "readouts": int(number or 0)}[group]
    every = (backbone.embed, *backbone.layers)[: before + 1]
    return [stage for stage in every if isinstance(stage, Stage)]


def _cut_edges(values: Tensor, graph: Graph, part: Part, inputs: ProgramInputs) -> Tensor:
    """Values (E, *) of all edges, or flat ones (E_r, *) of one list, as a part of them is laid out: [..., *]."""
    if not isinstance(inputs, TableInputs):
        lists = (np.arange(len(graph.edges)), *graph.sets.places)
        places = next(each for each in lists if len(each) == len(values))
        kept = part.edges[IndexSets.is_in(places, len(graph.edges))[part.edges]]
        # A part has its edges in another order than the graph, and so has each of its lists.
        return values[torch.from_numpy(np.searchsorted(places, kept))]
    rows = values[torch.from_numpy(part.edges)]
    # Padding shows some edge, so that whatever a stage computes there is as finite as elsewhere.
    table = rows[:1].repeat(inputs.neighbours.numel(), *(1,) * (rows.ndim - 1))
    table[torch.from_numpy(edge_slots(part))] = rows
    return table.view(*inputs.neighbours.shape, *rows.shape[1:])
