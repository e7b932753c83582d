"""How well partitioners divide water, a slab with vacuum and a nanoparticle in a box.

    python benchmarks/partition_quality.py [--atoms 10000] [--parts 8] [--cutoff 5] [--partitioner rcb ...]

Columns: the largest work of a part over the mean (one for each edge received and one for each atom); halo atoms
per owned atom after one hop and after three, mean over the parts and worst part; seconds of partitioning, alone
and over those of building the neighbour list of the same structure.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from halocline.bench.structures import disordered_box
from halocline.graph import Graph, NeighbourList, Radius, Structure
from halocline.partition import cut_part
from halocline.plugin import registry

DENSITY = 0.1  # atoms/Å³, as water
HOPS = (1, 3)
HEADER = (
    "structure       atoms  partitioner  parts  imbalance    1 hop mean/worst  3 hops mean/worst       s  of list"
)


def water(atoms: int) -> Atoms:
    """A periodic box of a liquid."""
    return disordered_box(("O", "H"), atoms, DENSITY)


def slab(atoms: int) -> Atoms:
    """A film as thick as the vacuum, across the border of the cell; half of it is 30 % as dense as the rest."""
    box = water(round(atoms / 0.65))
    edge = box.cell.lengths()[0]
    kept = (box.positions[:, 0] < edge / 2) | (np.random.default_rng(2).random(len(box)) < 0.3)
    box = box[kept]
    box.set_cell([edge, edge, 2 * edge])
    box.positions[:, 2] -= edge / 2
    return box


def nanoparticle(atoms: int) -> Atoms:
    """A ball in a periodic box of twice its diameter, across the corners."""
    box = water(round(atoms * 6 / np.pi))
    edge = box.cell.lengths()[0]
    ball = box[np.linalg.norm(box.positions - edge / 2, axis=1) < edge / 2]
    ball.set_cell(3 * [2 * edge])
    ball.positions -= edge / 2
    return ball


STRUCTURES = {"water": water, "slab": slab, "nanoparticle": nanoparticle}


def halo_ratios(graph: Graph, owners: NDArray[np.int64], parts: int) -> NDArray[np.float64]:
    """Halo atoms per owned atom, (parts with atoms, len(HOPS))."""
    cuts = [cut_part(owners == part, graph.edges, max(HOPS)) for part in range(parts)]
    return np.array([[cut.levels[h] / cut.levels[0] - 1 for h in HOPS] for cut in cuts if cut.levels[0]])


def imbalance(graph: Graph, owners: NDArray[np.int64], parts: int) -> float:
    """The largest work of a part over the mean."""
    work = 1 + np.bincount(graph.edges.receivers, minlength=len(owners))
    return float(np.bincount(owners, work, minlength=parts).max() * parts / work.sum())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=10_000)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å")
    parser.add_argument("--partitioner", nargs="+", default=["grid", "rcb", "metis"])
    arguments = parser.parse_args()
    print(HEADER)
    for name, make in STRUCTURES.items():
        structure = Structure.from_atoms(make(arguments.atoms))
        started = time.perf_counter()
        graph = NeighbourList(Radius(arguments.cutoff), skin=0.0).graph(structure)
        listing = time.perf_counter() - started
        for choice in arguments.partitioner:
            partitioner = registry().load("partitioner", choice)()
            started = time.perf_counter()
            owners = partitioner.owners(graph, arguments.parts)
            seconds = time.perf_counter() - started
            (one, three), (one_worst, three_worst) = (
                f(halo_ratios(graph, owners, arguments.parts), axis=0) for f in (np.mean, np.max)
            )
            print(
                f"{name:13} {len(structure):7}  {choice:11}  {arguments.parts:5}"
                f"  {imbalance(graph, owners, arguments.parts):9.3f}  {one:8.2f}/{one_worst:.2f}   "
                f"  {three:8.2f}/{three_worst:.2f}    {seconds:6.2f}  {seconds / listing:7.3f}"
            )


if __name__ == "__main__":
    main()
