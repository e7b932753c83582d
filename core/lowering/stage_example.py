"""What a single stage reads, to trace it with and to check it against."""

from __future__ import annotations

import numpy as np
import torch

from halocline.model.backbone import Backbone
from halocline.model.chain import chain
from halocline.model.stage import Stage, State
from halocline.partition import cut_part, whole
from halocline.program import Program, ProgramInputs
from halocline.program.layout import lay_out

#: Atoms of a chain, and how many of them the stage writes.
_SIZES = ((40, 3), (52, 5), (6, 6))


def stage_inputs(program: Program, name: str) -> list[tuple[State, ProgramInputs]]:
    """State and edges of one stage, on parts of several sizes.

    The stages before it run on all atoms of a chain; what the stage reads is cut out of their state.
    """
    backbone = program.backbone
    hops = dict(backbone.stages())[name].spec.hops
    cases = []
    for atoms, owned in _SIZES:
        graph = chain(backbone, atoms, seed=atoms)
        everything = whole(atoms, graph.edges, backbone.hops)
        state = _state_before(backbone, name, lay_out(graph, everything, program.form, program.precision))
        part = cut_part(np.arange(atoms) < owned, graph.edges, hops)
        rows = torch.from_numpy(part.atoms)
        read = State({key: values[rows] for key, values in state.atoms.items()}, {})
        cases.append((read, lay_out(graph, part, program.form, program.precision)))
    return cases


def _state_before(backbone: Backbone, name: str, inputs: ProgramInputs) -> State:
    """Run the stages that come before one, on all atoms."""
    group, _, number = name.partition(".")
    before = {"embed": -1, "layers": int(number or 0), "readouts": int(number or 0)}[group]
    state = State({"species": inputs.species}, {})
    for stage in (backbone.embed, *backbone.layers)[: before + 1]:
        assert isinstance(stage, Stage)
        state = stage(state, *[inputs.block(0, inputs.vectors)] * stage.spec.hops)
    return state
