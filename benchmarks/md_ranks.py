"""Molecular dynamics of water over several processes, each with several parts, against one process in the end.

    python benchmarks/md_ranks.py [--atoms 100000] [--ranks 2] [--partition rcb:8] [--halo auto] [--dtype float64]

The equilibrated box of the examples is repeated and gets velocities of 300 K. The run goes on until all steps are
done and the neighbour list was searched anew at least once. Then one process computes the forces on the last
positions once more, part after part. Every process has one thread unless OMP_NUM_THREADS says otherwise.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch, also for the ranks, which inherit it

import numpy as np
from ase import Atoms, units
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta

import halocline
from halocline.backends.ddp.evaluator import DdpEvaluator
from halocline.bench.memory import peak_memory
from halocline.bench.structures import repeated
from halocline.evaluator import Evaluator
from halocline.partition import Division
from halocline.partition.size import format_size
from halocline.potential.potential import Potential
from halocline.program import Precision

WATER = Path(__file__).parents[1] / "examples" / "water.extxyz"
TEMPERATURE, TIMESTEP = 300.0, 0.5 * units.fs


class Dynamics:
    """Velocity Verlet.

    Args:
        atoms: the start, which moves.
        potential: of the forces.
        evaluator: computes them.

    Attributes:
        forces: (N, 3) eV/Å, where the atoms are.
    """

    def __init__(self, atoms: Atoms, potential: Potential, evaluator: Evaluator) -> None:
        self._atoms, self._potential, self._evaluator = atoms, potential, evaluator
        self.forces = self._evaluate()

    def step(self) -> None:
        """Move on by one step of time."""
        momenta = self._atoms.get_momenta() + 0.5 * TIMESTEP * self.forces
        self._atoms.positions += TIMESTEP * momenta / self._atoms.get_masses()[:, None]
        self.forces = self._evaluate()
        self._atoms.set_momenta(momenta + 0.5 * TIMESTEP * self.forces)

    def _evaluate(self) -> np.ndarray:
        return self._potential.evaluate_with(self._evaluator, self._atoms).forces


def run(dynamics: Dynamics, evaluator: DdpEvaluator, steps: int) -> list[float]:
    """Seconds of each step."""
    seconds: list[float] = []
    while len(seconds) < steps or evaluator.searches < 2:
        searches, started = evaluator.searches, time.perf_counter()
        dynamics.step()
        seconds.append(time.perf_counter() - started)
        new = ", with a new list" if evaluator.searches > searches else ""
        print(f"step {len(seconds)}: {seconds[-1]:.2f} s{new}", flush=True)
    return seconds


def peaks_of_children() -> Iterator[int]:
    """The most bytes that each process started by this one has had in memory, in the order of their numbers."""
    for path in sorted(Path("/proc").glob("[0-9]*/status"), key=lambda path: int(path.parent.name)):
        fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
        if int(fields["PPid"]) == os.getpid() and "VmHWM" in fields:
            yield 1024 * int(fields["VmHWM"].split()[0])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="water-revpbe0d3-schnet")
    parser.add_argument("--atoms", type=int, default=100_000, help="at least so many, in whole boxes")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--partition", default="rcb:8")
    parser.add_argument("--halo", default="auto", choices=("auto", "recompute", "exchange"))
    parser.add_argument("--dtype", default="float64", choices=("float32", "float64"))
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("halocline").setLevel(logging.INFO)

    potential, atoms = halocline.load(arguments.model), repeated(read(WATER), arguments.atoms)
    thermalize_momenta(atoms, TEMPERATURE, rng=np.random.default_rng(0))
    precision, division = Precision(arguments.dtype), Division.parse(arguments.partition)
    evaluator = DdpEvaluator(
        potential.backbone, precision, division, "cpu", arguments.halo, ranks=arguments.ranks, timeout=600.0
    )
    started = time.perf_counter()
    dynamics = Dynamics(atoms, potential, evaluator)
    print(f"{len(atoms)} atoms, {arguments.ranks} ranks, {arguments.partition}, {arguments.dtype}")
    print(f"first forces: {time.perf_counter() - started:.1f} s", flush=True)
    seconds = run(dynamics, evaluator, arguments.steps)
    print(f"steps {len(seconds)}, new lists {evaluator.searches - 1}")
    print(f"seconds per step: mean {np.mean(seconds):.2f}, median {np.median(seconds):.2f}")
    print(f"peak memory: driver {format_size(peak_memory('cpu'))}, ranks", end=" ")
    print(", ".join(map(format_size, peaks_of_children())), flush=True)
    evaluator.close()

    alone = potential.evaluator("torch", arguments.dtype, "cpu", arguments.partition, "recompute")
    expected = potential.evaluate_with(alone, atoms).forces
    difference = np.abs(dynamics.forces - expected).max()
    print(f"largest difference of a force: {difference:.2e} eV/Å of {np.abs(expected).max():.2f}")


if __name__ == "__main__":
    main()
