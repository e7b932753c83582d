"""Inputs to trace with and to check against: parts of a chain of atoms that suits any backbone."""

from __future__ import annotations

from itertools import product

import numpy as np
from ase.data import atomic_numbers

from halocline.aggregation import Form
from halocline.graph import Graph, NeighbourList, Radius, Structure
from halocline.model.backbone import Backbone
from halocline.partition import cut_part, whole
from halocline.program import Precision, ProgramInputs
from halocline.program.layout import lay_out

#: Lattice spacing in units of the cutoff: each atom reaches one or two layers of the chain.
SPACING = 0.7

#: Å, where a model has nearest neighbours instead of a cutoff.
NEAREST_SPACING = 2.5

#: Atoms leave their sites by at most this part of the spacing.
JITTER = 0.1


def chain(backbone: Backbone, atoms: int, seed: int) -> Graph:
    """A chain of 2 × 2 atoms in each layer, with the backbone's species and neighbours.

    A chain is long: hop levels of a part at its end all differ in size.
    """
    rule = backbone.neighbours
    spacing = SPACING * rule.cutoff if isinstance(rule, Radius) else NEAREST_SPACING
    random = np.random.default_rng(seed)
    layers = -(-atoms // 4)
    sites = np.array(list(product(range(layers), range(2), range(2))), dtype=np.float64)[:atoms]
    known = [atomic_numbers[symbol] for symbol in backbone.species]
    structure = Structure(
        numbers=random.choice(known, size=atoms).astype(np.int64),
        positions=spacing * (sites + random.uniform(-JITTER, JITTER, sites.shape)),
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=np.bool_),
    )
    return NeighbourList(rule).graph(structure)


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
