"""Inputs to trace with and to check against: parts of a chain of atoms that suits any backbone."""

from __future__ import annotations

import numpy as np

from halocline.aggregation import Form
from halocline.model.backbone import Backbone
from halocline.model.chain import chain
from halocline.partition import cut_part, whole
from halocline.program import Precision, ProgramInputs
from halocline.program.layout import lay_out


def example_inputs(backbone: Backbone, form: Form, precision: Precision) -> ProgramInputs:
    """A part with different sizes on all hop levels."""
    return _part_inputs(backbone, form, precision, owned=3, seed=0)


def other_inputs(backbone: Backbone, form: Form, precision: Precision) -> dict[str, ProgramInputs]:
    """Inputs of other sizes than `example_inputs`, by what is special about them."""
    return {
        "another part": _part_inputs(backbone, form, precision, owned=5, seed=1),
        "a whole structure": whole_inputs(backbone, form, precision, atoms=7),
        "one atom": whole_inputs(backbone, form, precision, atoms=1),
    }


def whole_inputs(backbone: Backbone, form: Form, precision: Precision, atoms: int) -> ProgramInputs:
    """A chain of a few atoms as one part."""
    graph = chain(backbone, atoms, seed=2)
    return lay_out(graph, whole(atoms, graph.edges, backbone.hops), form, precision)


def _part_inputs(backbone: Backbone, form: Form, precision: Precision, *, owned: int, seed: int) -> ProgramInputs:
    """The part that owns the first atoms of a chain."""
    graph = chain(backbone, 8 * backbone.hops + 4 * owned, seed)
    first = np.arange(len(graph.structure)) < owned
    return lay_out(graph, cut_part(first, graph.edges, backbone.hops), form, precision)
