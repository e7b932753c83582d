"""Inputs to trace with and to check against: parts of a chain of atoms that suits any backbone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from halocline.aggregation import Form
from halocline.graph import NeighbourList
from halocline.graph.rules import single_rules
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
        "one pair": _pair_inputs(backbone, form, precision),
        "one atom": whole_inputs(backbone, form, precision, atoms=1),
    }


def whole_inputs(backbone: Backbone, form: Form, precision: Precision, atoms: int) -> ProgramInputs:
    """A chain of a few atoms as one part."""
    graph = chain(backbone, atoms, seed=2)
    return lay_out(graph, whole(atoms, graph.edges, backbone.hops), form, precision)


def _pair_inputs(backbone: Backbone, form: Form, precision: Precision) -> ProgramInputs:
    """Two atoms that are neighbours, in the longest list alone if others are shorter: nothing is in the others."""
    graph = chain(backbone, 2, seed=2)
    cutoffs = [each.cutoff for each in single_rules(backbone.neighbours)]
    if min(cutoffs) < max(cutoffs) < np.inf:
        first, second = graph.structure.positions
        apart = (second - first) / np.linalg.norm(second - first)
        positions = np.stack([first, first + 0.5 * (min(cutoffs) + max(cutoffs)) * apart])
        graph = NeighbourList(backbone.neighbours).graph(replace(graph.structure, positions=positions))
    return lay_out(graph, whole(2, graph.edges, backbone.hops), form, precision)


def _part_inputs(backbone: Backbone, form: Form, precision: Precision, *, owned: int, seed: int) -> ProgramInputs:
    """The part that owns the first atoms of a chain."""
    graph = chain(backbone, 8 * backbone.hops + 4 * owned, seed)
    first = np.arange(len(graph.structure)) < owned
    return lay_out(graph, cut_part(first, graph.edges, backbone.hops), form, precision)
