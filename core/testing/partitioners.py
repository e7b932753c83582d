"""The checks of a partitioner: every atom has one owner among the parts."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

import numpy as np
from ase import Atoms

from halocline.graph import Graph, Radius
from halocline.partition import Partitioner
from halocline.testing.report import Failure
from halocline.testing.structures import graph_of

#: Numbers of parts tried; the largest is more than any sample has atoms.
PARTS = (1, 2, 7, 100)


def check_owners(partitioner: Partitioner) -> None:
    """Owners are int64, one for each atom, between 0 and the number of parts; parts may stay empty.

    Raises:
        Failure: they are not.
    """
    for name, graph in _graphs():
        for parts in PARTS:
            owners = partitioner.owners(graph, parts)
            if owners.shape != (len(graph.structure),) or owners.dtype != np.int64:
                raise Failure(f"The owners in the {name} are {owners.dtype} {owners.shape}, not int64 (N,).")
            if owners.min() < 0 or owners.max() >= parts:
                raise Failure(f"With {parts} parts, the {name} has owners {owners.min()} to {owners.max()}.")


def check_repeatable(partitioner: Partitioner) -> None:
    """The same graph gets the same owners twice: all ranks of a run must agree without talking.

    Raises:
        Failure: it gets others.
    """
    for name, graph in _graphs():
        for parts in PARTS:
            if not np.array_equal(partitioner.owners(graph, parts), partitioner.owners(graph, parts)):
                raise Failure(f"The {name} is divided differently at a second call.")


def check_graph_unchanged(partitioner: Partitioner) -> None:
    """Dividing a graph only reads it.

    Raises:
        Failure: the graph has changed.
    """
    for name, graph in _graphs():
        before = graph.vectors.copy(), graph.structure.positions.copy(), graph.edges.senders.copy()
        partitioner.owners(graph, 3)
        after = graph.vectors, graph.structure.positions, graph.edges.senders
        if not all(map(np.array_equal, before, after)):
            raise Failure(f"Dividing the {name} changed its graph.")


def _graphs() -> Iterator[tuple[str, Graph]]:
    """One atom, two without neighbours, and boxes of different periodicity."""
    rng = np.random.default_rng(10)
    cell = np.array([[9.0, 0.0, 0.0], [3.0, 8.0, 0.0], [-2.0, 1.0, 10.0]])
    box = Atoms("H30", positions=rng.uniform(size=(30, 3)) @ cell, cell=cell, pbc=True)
    slab = box.copy()
    slab.pbc = [True, True, False]
    samples = {
        "lone atom": Atoms("H"),
        "far pair": Atoms("H2", positions=[[0, 0, 0], [0, 0, 100]]),
        "box": box,
        "slab": slab,
    }
    for name, atoms in samples.items():
        yield name, graph_of(atoms, Radius(4.0))


#: All checks of a partitioner by name.
PARTITIONER_CHECKS = MappingProxyType(
    {"owners": check_owners, "repeatable": check_repeatable, "graph-unchanged": check_graph_unchanged}
)
