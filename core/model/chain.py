"""Chains of atoms that suit any backbone: long and thin, so that hops of neighbours come one after another."""

from __future__ import annotations

from itertools import product

import numpy as np
from ase.data import atomic_numbers

from halocline.graph import Graph, NeighbourList, Structure
from halocline.graph.rules import reach, single_rules
from halocline.model.backbone import Backbone
from halocline.model.condition import of_each_atom
from halocline.model.pooled import POOLED_WEIGHTS

#: Lattice spacing in units of the cutoff: each atom reaches one or two layers of the chain.
SPACING = 0.7

#: Stands in for the cutoff (Å) where a model has nearest neighbours.
NEAREST_LENGTH = 2.5 / SPACING

#: Atoms leave their sites by at most this part of the spacing.
JITTER = 0.1


def chain(backbone: Backbone, atoms: int, seed: int, spacing: float = SPACING) -> Graph:
    """A chain of 2 × 2 atoms in each layer, with the backbone's species and neighbours.

    It is open, so no atom meets its image, and hop levels of a part at its end all differ in size.

    Args:
        backbone: gives species and neighbour rule.
        atoms: how many, the last layer may be incomplete.
        seed: of species and of displacements.
        spacing: of the lattice, in units of the longest cutoff; within layers in units of the shortest, if that is
            below the lattice spacing: a list of short edges is not empty, nor are the pairs of them.
    """
    rule = backbone.neighbours
    longest = reach(rule) if reach(rule) < np.inf else NEAREST_LENGTH
    shortest = min(each.cutoff for each in single_rules(rule))
    # A list that would be empty, as its edges are shorter than the spacing, has some within each layer.
    within = shortest if shortest < SPACING * longest else longest
    lengths = np.array([longest, within, within])
    random = np.random.default_rng(seed)
    layers = -(-atoms // 4)
    sites = np.array(list(product(range(layers), range(2), range(2))), dtype=np.float64)[:atoms]
    known = [atomic_numbers[symbol] for symbol in backbone.species]
    structure = Structure(
        numbers=random.choice(known, size=atoms).astype(np.int64),
        positions=spacing * lengths * (sites + random.uniform(-JITTER, JITTER, sites.shape)),
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=np.bool_),
    )
    numbers = {each.name: each.example(seed) for each in backbone.conditions}
    conditions = of_each_atom(backbone.conditions, numbers, atoms)
    if backbone.pooled_head is not None:
        conditions[POOLED_WEIGHTS] = random.normal(size=(atoms, backbone.pooled_head.channels))
    structure = structure.under(conditions)
    return NeighbourList(rule).graph(structure)
