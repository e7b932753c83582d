"""Seeded sample structures for any backbone: its species, and lengths in units of its cutoff."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from halocline.graph import Graph, Nearest, NeighbourList, NeighbourRule, Radius, Structure
from halocline.graph.neighbours import nearest_edges
from halocline.graph.rules import reach, single_rules
from halocline.model import Backbone
from halocline.partition import cut_part
from halocline.testing.tolerances import CLEARANCE

#: Stands in for the cutoff (Å) where a model has nearest neighbours.
NEAREST_LENGTH = 4.0

#: Distance between lattice sites in units of the cutoff: 25 neighbours, or 46 in the dense crystal.
SPACING, DENSE = 0.55, 0.45

#: Atoms leave their sites by at most this part of the spacing in each direction.
JITTER = 0.15

#: Seeds tried to keep every pair clear of the cutoff; the chance to miss a hundred times is nil.
TRIES = 100


def graph_of(atoms: Atoms, rule: NeighbourRule) -> Graph:
    """The neighbour graph of a structure."""
    return NeighbourList(rule).graph(Structure.from_atoms(atoms))


@final
class Samples:
    """The structures that checks look at; made when first asked for, always the same.

    Args:
        backbone: gives species, neighbour rule, receptive field and conditions.

    Attributes:
        states: what ``atoms.info`` of the structures says, so that a model with conditions is told something.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.species, self.rule, self.hops = backbone.species, backbone.neighbours, backbone.hops
        self.states = {each.entries[0]: each.stated(each.example(1)) for each in backbone.conditions}
        self.length = reach(self.rule) if reach(self.rule) < np.inf else NEAREST_LENGTH

    @cached_property
    def molecule(self) -> Atoms:
        """Eight atoms without a cell, two in each direction."""
        return self._clear(lambda seed: self._lattice(seed, (2, 2, 2), SPACING, (False, False, False)))

    @cached_property
    def crystal(self) -> Atoms:
        """Four atoms in a triclinic cell that is smaller than the cutoff: atoms are neighbours of their images."""
        return self._clear(lambda seed: self._lattice(seed, (1, 2, 2), DENSE, (True, True, True), shear=0.3))

    @cached_property
    def slab(self) -> Atoms:
        """18 atoms, periodic in two directions, in a sheared cell."""
        return self._clear(lambda seed: self._lattice(seed, (3, 3, 2), SPACING, (True, True, False), shear=0.3))

    @cached_property
    def liquid(self) -> Atoms:
        """64 atoms in a periodic box larger than twice the cutoff."""
        return self._lattice(0, (4, 4, 4), SPACING, (True, True, True))

    @cached_property
    def wire(self) -> Atoms:
        """A thin periodic box longer than twice the receptive field: halos are a true part of it."""
        count = 4
        while True:
            wire = self._lattice(0, (count, 2, 2), SPACING, (True, True, True))
            alone = np.arange(len(wire)) == 0
            if len(cut_part(alone, graph_of(wire, self.rule).edges, 2 * self.hops).atoms) < len(wire):
                return wire
            count += 4

    @property
    def atom(self) -> Atoms:
        """One atom without a cell."""
        return Atoms(self.species[:1], positions=[[0.1, 0.2, 0.3]], info=dict(self.states))

    def periodic(self) -> dict[str, Atoms]:
        """Structures that have a volume, by name."""
        return {"crystal": self.crystal, "liquid": self.liquid}

    def small(self) -> dict[str, Atoms]:
        """Structures of every periodicity whose pairs keep clear of the cutoff."""
        return {"molecule": self.molecule, "crystal": self.crystal, "slab": self.slab}

    def all(self) -> dict[str, Atoms]:
        """Every structure of more than one atom."""
        return self.small() | {"liquid": self.liquid, "wire": self.wire}

    def _lattice(
        self,
        seed: int,
        repeats: tuple[int, int, int],
        spacing: float,
        pbc: tuple[bool, bool, bool],
        shear: float = 0.0,
    ) -> Atoms:
        """Atoms near the sites of a lattice, of random species; each species is there if atoms suffice."""
        rng = np.random.default_rng(seed)
        step = spacing * self.length
        axes = step * (np.eye(3) + shear * np.tril(np.ones((3, 3)), -1))
        sites = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3)
        jitter = rng.uniform(-JITTER, JITTER, sites.shape) * step
        symbols = rng.permutation(np.resize(self.species, len(sites)))
        cell = np.diag(repeats) @ axes
        return Atoms(list(symbols), positions=sites @ axes + jitter, cell=cell, pbc=pbc, info=dict(self.states))

    def _clear(self, make: Callable[[int], Atoms]) -> Atoms:
        """The first sample in which small displacements change no neighbour."""
        samples = (make(seed) for seed in range(TRIES))
        return next(atoms for atoms in samples if clearance(atoms, self.rule) > CLEARANCE)


def clearance(atoms: Atoms, rule: NeighbourRule) -> float:
    """How far (Å) any pair is from becoming or ceasing to be neighbours."""
    return min(_clearance(atoms, each) for each in single_rules(rule))


def _clearance(atoms: Atoms, rule: Radius | Nearest) -> float:
    gap = np.inf
    if rule.cutoff < np.inf:
        distances = np.linalg.norm(graph_of(atoms, Radius(1.1 * rule.cutoff)).vectors, axis=1)
        gap = float(np.abs(distances - rule.cutoff).min(initial=np.inf))
    if isinstance(rule, Radius):
        return gap
    structure = Structure.from_atoms(atoms)
    edges = nearest_edges(structure, rule.count + 1)
    distances = np.linalg.norm(edges.vectors(structure), axis=1)
    ranked = [distances[(edges.receivers == i) & (distances < rule.cutoff)] for i in range(len(atoms))]
    return min(gap, *(_last_gap(each, rule.count) for each in ranked))


def _last_gap(distances: NDArray[np.float64], count: int) -> float:
    """Distance between the last neighbour and the first that is none."""
    ranked = np.sort(distances)
    return float(ranked[count] - ranked[count - 1]) if len(ranked) > count else np.inf
