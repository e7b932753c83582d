"""What models of different sizes cost: measured in turns, and predicted for many ranks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, pi
from typing import TYPE_CHECKING, Final, final

import numpy as np

from halocline.cost.loads import predict_loads
from halocline.cost.profile import Profile
from halocline.graph import Graph
from halocline.partition.geometry import density_and_cutoff
from halocline.potential.potential import Potential
from halocline.program import Precision

if TYPE_CHECKING:
    from ase import Atoms

#: Rounds in which every model is timed once: so many at least, and more until so many seconds are over. The best
#: time of each counts, as whatever else a machine does only makes it slower.
ROUNDS, MOST_ROUNDS, SECONDS = 5, 50, 5.0

#: A periodic structure is repeated until it has so many atoms: enough for work to outweigh what a call costs.
TIMED_ATOMS: Final = 500

#: Standard deviation of displacements between evaluations, Å: as in dynamics, no two are of one structure.
DISPLACEMENT: Final = 0.01

#: Ranks for which halos are predicted, and atoms of the uniform cube that they share.
RANKS: Final = (8, 64)
CUBE_ATOMS: Final = 100_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a model costs.

    Attributes:
        layers: message-passing layers.
        parameters: trainable numbers.
        hops: of the receptive field.
        receptive_field: Å, hops times cutoff; None if neighbours are the nearest ones however far.
        time: µs per atom and evaluation.
        time_ratio: of that to the unpruned model's, both measured in turns.
        redundancy: ranks → edges that all of them evaluate, over those of the structure, if halos are recomputed;
            empty if no structure has edges.
    """

    layers: int
    parameters: int
    hops: int
    receptive_field: float | None
    time: float
    time_ratio: float
    redundancy: dict[int, float]


def measure_costs(
    potentials: Sequence[Potential], atoms: Atoms, graphs: Sequence[Graph], precision: Precision, device: str
) -> list[Costs]:
    """Costs of several models, the first of which is the unpruned one.

    Args:
        potentials: which have the same neighbours.
        atoms: a structure of the data.
        graphs: of structures of the data; their density is that of the cube.
        precision: of the network.
        device: to evaluate on.
    """
    bonded = [graph for graph in graphs if len(graph.edges)]
    times = _times(potentials, repeated(atoms), precision, device)
    return [
        Costs(
            layers=len(each.backbone.layers),
            parameters=sum(weights.numel() for weights in each.backbone.parameters()),
            hops=each.backbone.hops,
            receptive_field=None if each.cutoff is None else each.backbone.hops * each.cutoff,
            time=1e6 * own,
            time_ratio=own / times[0],
            redundancy={ranks: redundancy(each, bonded, ranks) for ranks in RANKS if bonded},
        )
        for each, own in zip(potentials, times, strict=True)
    ]


def redundancy(potential: Potential, graphs: Sequence[Graph], ranks: int) -> float:
    """Edges that all ranks evaluate, over those of the structure, predicted for a uniform periodic cube.

    Args:
        potential: with any number of hops.
        graphs: with edges, of structures of the data.
        ranks: that share `CUBE_ATOMS`.
    """
    profile = Profile.of(potential.backbone, Precision.FLOAT32)
    density, cutoff = np.mean([density_and_cutoff(graph) for graph in graphs], axis=0)
    loads = predict_loads(CUBE_ATOMS, density, cutoff, ranks, profile)
    edges = CUBE_ATOMS * density * 4.0 / 3.0 * pi * cutoff**3 * len(profile.levels)
    return float(loads.recompute.edges * ranks / edges)


def repeated(atoms: Atoms) -> Atoms:
    """A structure as often along its periodic directions as `TIMED_ATOMS` ask for."""
    counts = np.ones(3, int)
    lengths = np.where(atoms.pbc, atoms.cell.lengths(), np.inf)
    while atoms.pbc.any() and len(atoms) * counts.prod() < TIMED_ATOMS:
        counts[np.argmin(counts * lengths)] += 1
    larger: Atoms = atoms.repeat(counts)
    return larger


def _times(potentials: Sequence[Potential], atoms: Atoms, precision: Precision, device: str) -> list[float]:
    """Seconds for each atom, of each model."""
    best, began = [inf] * len(potentials), time.perf_counter()
    for turn, moved in enumerate(_moving(atoms)):
        if turn == MOST_ROUNDS or (turn > ROUNDS and time.perf_counter() - began > SECONDS):
            break
        for number, potential in enumerate(potentials):
            started = time.perf_counter()
            potential(moved, dtype=precision, device=device)
            best[number] = min(best[number], time.perf_counter() - started)
    return [seconds / len(atoms) for seconds in best]


def _moving(atoms: Atoms) -> Iterator[Atoms]:
    random = np.random.default_rng(0)
    while True:
        moved = atoms.copy()
        moved.positions += random.normal(scale=DISPLACEMENT, size=moved.positions.shape)
        yield moved
