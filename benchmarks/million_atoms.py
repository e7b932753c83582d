"""Energies and forces of a million atoms of water on one device, within a bound on memory, against the small cell.

    python benchmarks/million_atoms.py [--atoms 1000000] [--memory 12GiB] [--dtype float64] [--partitioner rcb]

The equilibrated box of the examples is repeated, so every atom must have the energy and the force of its original.
Run it as a process of its own: the last lines compare the high-water mark of its resident memory with the bound.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from ase.io import read

import halocline
from halocline.bench.memory import peak_memory
from halocline.bench.structures import repeated
from halocline.evaluator import NoLinks, make_runner
from halocline.evaluator.runner import Contribution
from halocline.graph import NeighbourList, Structure
from halocline.memory.memory_model import MemoryModel
from halocline.model import Backbone
from halocline.partition.size import format_size, parse_size
from halocline.plugin import registry
from halocline.program import Precision

WATER = Path(__file__).parents[1] / "examples" / "water.extxyz"


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took, and the high-water mark so far."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    print(f"{what:12} {seconds:9.1f} s   peak so far {format_size(peak_memory('cpu'))}", flush=True)


class Evaluation:
    """What an evaluator does in turn, phase by phase."""

    def __init__(self, backbone: Backbone, precision: Precision, partitioner: str) -> None:
        executor = registry().load("executor", "torch")(device="cpu")
        self._runner = make_runner(backbone, executor, precision, exchange=False)
        self._memory = MemoryModel.measure(backbone, precision, executor.capabilities.form)
        self._partitioner = registry().load("partitioner", partitioner)()
        self._backbone = backbone

    def whole(self, structure: Structure) -> Contribution:
        """Without parts."""
        graph = NeighbourList(self._backbone.neighbours).graph(structure)
        return self._runner.run(graph, np.zeros(len(structure), np.int64), NoLinks())

    def within(self, structure: Structure, bound: int) -> tuple[Contribution, int]:
        """In as many parts as the bound asks for; also the number of edges."""
        neighbours = NeighbourList(self._backbone.neighbours)
        with timed("list"):
            graph = neighbours.graph(structure)
        print(
            f"{len(structure)} atoms, {len(neighbours.candidates)} candidates, {len(graph.edges)} edges",
            flush=True,
        )
        with timed("parts"):
            hops = self._backbone.hops
            parts = self._memory.parts(graph, len(neighbours.candidates), hops, self._partitioner, bound)
        with timed("partition"):
            owners = self._partitioner.owners(graph, parts)
        print(f"{parts} parts of {len(structure) / parts:.0f} atoms", flush=True)
        with timed("evaluation"):
            return self._runner.run(graph, owners, NoLinks()), len(graph.edges)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="water-revpbe0d3-schnet")
    parser.add_argument("--atoms", type=int, default=1_000_000, help="at least so many, in whole boxes")
    parser.add_argument("--memory", type=parse_size, default=parse_size("12GiB"))
    parser.add_argument("--dtype", choices=list(Precision), default=Precision.FLOAT64)
    parser.add_argument("--partitioner", default="rcb")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    evaluation = Evaluation(
        halocline.load(arguments.model).backbone, Precision(arguments.dtype), arguments.partitioner
    )
    box = read(WATER)
    expected = evaluation.whole(Structure.from_atoms(box))
    structure = Structure.from_atoms(repeated(box, arguments.atoms))
    found, edges = evaluation.within(structure, arguments.memory)
    energies = found.energies.reshape(-1, len(box)) - expected.energies
    forces = found.forces.reshape(-1, len(box), 3) - expected.forces
    peak = peak_memory("cpu")
    print(f"largest error of an energy: {np.abs(energies).max():.2e} eV of {np.abs(expected.energies).max():.2e}")
    print(f"largest error of a force: {np.abs(forces).max():.2e} eV/Å of {np.abs(expected.forces).max():.2e}")
    print(f"peak {format_size(peak)} of {format_size(arguments.memory)} allowed")
    print(f"peak memory per million edges: {format_size(peak / edges * 1e6)}")


if __name__ == "__main__":
    main()
