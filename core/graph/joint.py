"""The graphs of several structures as one graph, without an edge from one structure to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import StructureError
from halocline.graph.cut import selected
from halocline.graph.graph import COINCIDENT, Edges, Graph, squared_lengths
from halocline.graph.index_sets import IndexSets
from halocline.graph.neighbours import search
from halocline.graph.rules import Nearest, NeighbourRule, Radius, reach
from halocline.graph.structure import Structure
from halocline.shares import timed

#: Structures of up to so many atoms that are not periodic are searched together, by looking at every pair. At 64
#: atoms this takes as long as one search in a tree for each, of several molecules; at 3 a thirtieth.
SMALL = 64

#: Pairs nearer than this many times `COINCIDENT` are looked at one by one; rounding decides nothing.
_SUSPECT = 2.0


@final
@dataclass(frozen=True, slots=True)
class JointGraph:
    """The graphs of S structures; what each has here is to the bit, and in the order, what it has alone.

    Attributes:
        structures: S of them, of any periodicity each.
        graph: of all their atoms. Atoms and edges of each structure follow those of the one before.
        atoms: (S + 1,) int64, where the atoms of each begin, and where the last ones end.
        edges: (S + 1,) int64, likewise.
    """

    structures: tuple[Structure, ...]
    graph: Graph
    atoms: NDArray[np.int64]
    edges: NDArray[np.int64]

    @classmethod
    def of(cls, graphs: Sequence[Graph]) -> JointGraph:
        """Put graphs of one rule side by side, at least one of them."""
        atoms = _starts([len(graph.structure) for graph in graphs])
        edges = _starts([len(graph.edges) for graph in graphs])
        structures = tuple(graph.structure for graph in graphs)
        if len(graphs) == 1:
            return cls(structures, graphs[0], atoms, edges)
        joint = Graph(
            structure=_side_by_side(structures),
            edges=Edges(
                _renumbered([graph.edges.receivers for graph in graphs], atoms),
                _renumbered([graph.edges.senders for graph in graphs], atoms),
                np.concatenate([graph.edges.shifts for graph in graphs]),
            ),
            vectors=np.concatenate([graph.vectors for graph in graphs]),
            squares=np.concatenate([graph.squares for graph in graphs]),
            partners=_partners(graphs, edges),
            sets=_sets(graphs, edges),
        )
        return cls(structures, joint, atoms, edges)

    def __len__(self) -> int:
        return len(self.structures)

    @property
    def of_atoms(self) -> NDArray[np.int64]:
        """The structure of each atom, (N,) int64."""
        return np.repeat(np.arange(len(self)), np.diff(self.atoms))

    def some(self, first: int, last: int) -> JointGraph:
        """The graph of the structures from the first to before the last, with atoms and edges numbered anew."""
        if first == 0 and last == len(self):
            return self
        atoms, edges = self.atoms[first : last + 1], self.edges[first : last + 1]
        here, there = slice(atoms[0], atoms[-1]), slice(edges[0], edges[-1])
        graph, old = self.graph, self.graph.edges
        part = Graph(
            structure=_atoms_of(graph.structure, here),
            edges=Edges(old.receivers[there] - atoms[0], old.senders[there] - atoms[0], old.shifts[there]),
            vectors=graph.vectors[there],
            squares=graph.squares[there],
            partners=None if graph.partners is None else graph.partners[there] - edges[0],
            sets=graph.sets.mapped(lambda places: _between(places, edges[0], edges[-1])),
        )
        return JointGraph(self.structures[first:last], part, atoms - atoms[0], edges - edges[0])


def _starts(sizes: Sequence[int]) -> NDArray[np.int64]:
    """Where each of some things begins once all are in a row, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


def _renumbered(places: Sequence[NDArray[np.int64]], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places that each count from the start of their own structure, in a row."""
    return np.concatenate(places) + np.repeat(starts[:-1], [len(each) for each in places])


def _partners(graphs: Sequence[Graph], edges: NDArray[np.int64]) -> NDArray[np.int64] | None:
    known = [graph.partners for graph in graphs if graph.partners is not None]
    return _renumbered(known, edges) if len(known) == len(graphs) else None


def _sets(graphs: Sequence[Graph], edges: NDArray[np.int64]) -> IndexSets:
    by_rule = zip(*(graph.sets.places for graph in graphs), strict=True)
    return replace(graphs[0].sets, places=tuple(_renumbered(places, edges) for places in by_rule))


@timed("search")
def joint_graph(
    rule: NeighbourRule, structures: Sequence[Structure]
) -> tuple[JointGraph, dict[int, StructureError]]:
    """Search the neighbours of several structures.

    Args:
        rule: of the model.
        structures: any number.

    Returns:
        The graph of those that have one, in their order; and for each of the others, by its place, what is wrong:
        coincident atoms, or an absurdly small cell.
    """
    found, failures = _search(rule, structures)
    if not failures:
        joint = _join(rule, structures, found)
        failures = _coincident(joint)
        if not failures:
            return joint, {}
    good = [place for place in range(len(structures)) if place not in failures]
    joint, others = joint_graph(rule, [structures[place] for place in good])
    return joint, failures | {good[place]: error for place, error in others.items()}


def _search(
    rule: NeighbourRule, structures: Sequence[Structure]
) -> tuple[dict[int, Edges], dict[int, StructureError]]:
    """Edges of each structure that is not small, and the errors of those searches."""
    found: dict[int, Edges] = {}
    failures: dict[int, StructureError] = {}
    for place, structure in enumerate(structures):
        try:
            if not (_is_small(structure) and reach(rule) < np.inf):
                found[place], _ = search(rule, structure)
        except StructureError as error:
            failures[place] = error
    return found, failures


def _is_small(structure: Structure) -> bool:
    return len(structure) <= SMALL and not structure.pbc.any()


def _join(rule: NeighbourRule, structures: Sequence[Structure], found: dict[int, Edges]) -> JointGraph:
    """Number atoms on from structure to structure, and cut all edges at the cutoff at once."""
    sizes = np.array([len(structure) for structure in structures], dtype=np.int64)
    starts = _starts(sizes.tolist())
    small = np.array([place for place in range(len(structures)) if place not in found], dtype=np.int64)
    edges = Edges.joined(
        [_all_pairs(starts[small], sizes[small]), *(_moved(edges, starts[at]) for at, edges in found.items())]
    )
    if found and len(small):
        edges = edges[np.argsort(edges.receivers, kind="stable")]
    everything = _side_by_side(structures)
    vectors = _vectors(edges, everything, structures, np.repeat(np.arange(len(sizes)), sizes))
    graph = _cut(rule, Graph(everything, edges, vectors, squared_lengths(vectors), None))
    return JointGraph(tuple(structures), graph, starts, np.searchsorted(graph.edges.receivers, starts))


def _cut(rule: NeighbourRule, graph: Graph) -> Graph:
    """Of a graph of candidates, which may have coincident atoms, what the rule asks for."""
    if reach(rule) < np.inf:
        inside = np.flatnonzero(graph.squares < reach(rule) ** 2)
        vectors, squares = graph.vectors.take(inside, axis=0), graph.squares.take(inside)
        edges = graph.edges.take(inside)
        graph = Graph(graph.structure, edges, vectors, squares, edges.partners())
    if isinstance(rule, Radius) or (isinstance(rule, Nearest) and rule.is_plain):
        return graph
    return selected(rule, graph)


def _between(places: NDArray[np.int64], first: np.int64, last: np.int64) -> NDArray[np.int64]:
    """Those places from the first to before the last, counted from the first."""
    return places[slice(*np.searchsorted(places, (first, last)))] - first


def _all_pairs(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> Edges:
    """Every ordered pair of different atoms of each structure, in canonical order."""
    first, lengths = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    before = np.repeat(np.cumsum(sizes) - sizes, sizes)
    atoms = first + np.arange(len(first)) - before
    receivers = np.repeat(atoms, lengths)
    senders = np.repeat(first - (np.cumsum(lengths) - lengths), lengths) + np.arange(len(receivers))
    other = receivers != senders
    receivers, senders = receivers[other], senders[other]
    return Edges(receivers, senders, np.zeros((len(receivers), 3), np.int64))


def _moved(edges: Edges, start: np.int64) -> Edges:
    return Edges(edges.receivers + start, edges.senders + start, edges.shifts)


def _side_by_side(structures: Sequence[Structure]) -> Structure:
    """Atoms of several structures; their cells are in the edge vectors already."""
    names = structures[0].conditions if structures else ()
    return Structure(
        np.concatenate([np.empty(0, np.int64), *(each.numbers for each in structures)]),
        np.concatenate([np.empty((0, 3)), *(each.positions for each in structures)]),
        np.zeros((3, 3)),
        np.zeros(3, np.bool_),
        {name: np.concatenate([each.conditions[name] for each in structures]) for name in names},
    )


def _atoms_of(everything: Structure, here: slice) -> Structure:
    """Some of them."""
    conditions = {name: values[here] for name, values in everything.conditions.items()}
    return replace(
        everything, numbers=everything.numbers[here], positions=everything.positions[here], conditions=conditions
    )


def _vectors(
    edges: Edges, everything: Structure, structures: Sequence[Structure], of_atoms: NDArray[np.int64]
) -> NDArray[np.float64]:
    """As `Edges.vectors` forms them, each with the cell of its structure; to the bit the same."""
    vectors = edges.vectors(everything)
    periodic = [axis for axis in range(3) if any(structure.pbc[axis] for structure in structures)]
    for axis in periodic:
        cells = np.array([each.cell[axis] if each.pbc[axis] else np.zeros(3) for each in structures])
        vectors += edges.shifts[:, axis, None] * cells[of_atoms[edges.receivers]]
    return vectors


def _coincident(joint: JointGraph) -> dict[int, StructureError]:
    """The structures in which two atoms sit on one point."""
    graph, failures = joint.graph, {}
    near = np.einsum("ij,ij->i", graph.vectors, graph.vectors) < (_SUSPECT * COINCIDENT) ** 2
    for place in np.unique(joint.of_atoms[graph.edges.receivers[near]]).tolist():
        alone = joint.some(place, place + 1).graph
        try:
            Graph.build(alone.structure, alone.edges, vectors=alone.vectors)
        except StructureError as error:
            failures[place] = error
    return failures
