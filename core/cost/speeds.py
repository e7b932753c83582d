"""How fast a machine evaluates edges and sends bytes: measured, never declared."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from halocline.errors import StructureError
from halocline.evaluator import NoLinks, Runner
from halocline.graph import NO_SETS, Graph, Structure

#: What a stage's value takes of a whole evaluation, value and derivatives. Exchanging ranks compute it once more.
#: Measured for SchNet of three layers in eager torch on a CPU: 0.29 and 0.36.
VALUE_SHARE: Final = 1 / 3

#: Times that something is measured. The best counts: whatever else a machine does only makes it slower.
REPEATS: Final = 5

#: Atoms of an excerpt: enough for edges to outweigh what a call costs, and done within a second.
EXCERPT: Final = 2000

#: Atoms to evaluate for the time it takes: of parts without their halos, so that a trial takes less memory than a
#: step, but no fewer than this, as the smallest part has about as many around it.
FEWEST: Final = 64

#: Bytes of the short and of the long message that a link is measured with.
SHORT, LONG = 8, 1 << 22


@final
@dataclass(frozen=True, slots=True)
class Speeds:
    """How fast ranks are, and the links between them.

    Attributes:
        seconds_per_edge: that a rank takes for one edge in one hop of a stage, derivatives included.
        bytes_per_second: of a link between two ranks, and of that of the driver; may be infinite, or zero.
        latency: seconds that a message takes, however short.
        value_share: see `VALUE_SHARE`.
        seconds_per_atom: that the driver works on each atom in a step, while ranks wait.
    """

    seconds_per_edge: float
    bytes_per_second: float
    latency: float
    value_share: float = VALUE_SHARE
    seconds_per_atom: float = 0.0


def measure_compute(runner: Runner, graph: Graph, hops: int) -> float:
    """Seconds for one edge in one hop, from evaluations of a whole graph.

    Args:
        runner: that recomputes halos.
        graph: of a small structure, see `excerpt`.
        hops: in which its model evaluates edges, see `Profile.levels`.

    Raises:
        StructureError: the graph has no edges.
    """
    if not len(graph.edges):
        raise StructureError("Atoms without neighbours say nothing about speed; choose halo=recompute.")
    parts = np.zeros(len(graph.structure), np.int64)
    seconds = _best(lambda: runner.run(graph, parts, NoLinks()))
    return seconds / (len(graph.edges) * hops)


def measure_link(round_trip: Callable[[int], object]) -> tuple[float, float]:
    """Bytes per second and latency in seconds, both for one direction.

    Args:
        round_trip: sends so many bytes to another rank, and returns when it has got as many back.
    """
    short, long = (_best(lambda size=size: round_trip(size)) / 2.0 for size in (SHORT, LONG))  # type: ignore[misc]
    rate = (LONG - SHORT) / (long - short) if long > short else float("inf")
    return rate, short


def excerpt(graph: Graph, atoms: int = EXCERPT) -> Graph:
    """A small graph of the same kind: neighbourhoods around the atom that has most neighbours.

    Args:
        graph: of any structure.
        atoms: more are not taken.
    """
    receivers, senders = graph.edges.receivers, graph.edges.senders
    total = len(graph.structure)
    hops = np.full(total, total)
    hops[np.argmax(np.bincount(receivers, minlength=total))] = 0
    inside, hop = hops == 0, 0
    while inside.sum() < min(atoms, total):
        hop += 1
        frontier = senders[inside[receivers] & ~inside[senders]]
        if not len(frontier):
            break
        hops[frontier] = hop
        inside[frontier] = True
    chosen = np.sort(np.argsort(hops, kind="stable")[: min(atoms, int(inside.sum()))])
    return _among(graph, chosen)


def excerpt_of_part(graph: Graph, owned: int) -> Graph:
    """What is evaluated to learn the speed of ranks whose parts own so many atoms of a graph."""
    # Which of its edges belong to which rule is decided where it is evaluated.
    return replace(excerpt(graph, min(EXCERPT, max(FEWEST, owned))), sets=NO_SETS)


def _among(graph: Graph, atoms: np.ndarray) -> Graph:
    """The graph of some of the atoms; opposite edges stay or leave together."""
    place = np.full(len(graph.structure), -1)
    place[atoms] = np.arange(len(atoms))
    edges, structure = graph.edges, graph.structure
    kept = (place[edges.receivers] >= 0) & (place[edges.senders] >= 0)
    few = edges[kept]
    return Graph(
        structure=Structure(
            structure.numbers[atoms],
            structure.positions[atoms],
            structure.cell,
            structure.pbc,
            {name: values[atoms] for name, values in structure.conditions.items()},
        ),
        edges=type(few)(place[few.receivers], place[few.senders], few.shifts),
        vectors=graph.vectors[kept],
        squares=graph.squares[kept],
        partners=None if graph.partners is None else (np.cumsum(kept) - 1)[graph.partners[kept]],
        sets=graph.sets.among(kept),
    )


def _best(work: Callable[[], object]) -> float:
    """Seconds of the quickest of several calls; the first one only warms up."""
    work()
    return min(_seconds(work) for _ in range(REPEATS))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
