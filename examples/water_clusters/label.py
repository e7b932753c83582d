"""Water clusters labelled by a cheap potential: the data of this example. Needs tblite (`pip install tblite`).

    python label.py minima minima.extxyz --count 800                       # relaxed with GFN2-xTB: energies
    python label.py motion motion.extxyz --from minima.extxyz --count 400  # at 300 K from the first 40: and forces
    python label.py motion unseen.extxyz --from minima.extxyz --first 40 --count 200         # from the next 20
    python label.py again gfn1/motion.extxyz --from motion.extxyz --method GFN1-xTB     # the same structures again

GFN2-xTB: C. Bannwarth, S. Ehlert and S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019). GFN1-xTB: S. Grimme,
C. Bannwarth and P. Shushkov, J. Chem. Theory Comput. 13, 1989 (2017). Every cluster follows from the seed and its
own number. A file that is there already is gone on with, cluster by cluster.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.io import iread, read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import LBFGS
from tblite.ase import TBLite

#: Molecules of a cluster, and Å: how near their oxygens may be to begin with, and in how much space for each.
SIZES, NEAREST, SPACE = (3, 8), 2.5, 3.2

#: eV/Å and steps of a relaxation.
FMAX, STEPS = 0.05, 250

#: Of dynamics at 300 K: fs of a step, and steps before the first frame and between two.
TIMESTEP, BETWEEN, FRAMES = 0.5, 40, 10


def main() -> None:
    """Make one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("minima", "motion", "again"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=800, help="frames [%(default)s]")
    parser.add_argument("--from", dest="start", type=Path, help="structures to begin with")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first structure of those [%(default)s]"
    )
    parser.add_argument("--method", default="GFN2-xTB")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(exist_ok=True)
    done = sum(1 for _ in iread(arguments.output)) if arguments.output.exists() else 0
    for atoms in {"minima": minima, "motion": motion, "again": again}[arguments.what](arguments, done):
        write(arguments.output, atoms, append=True)


def minima(arguments: argparse.Namespace, done: int) -> Iterator[Atoms]:
    """Clusters at minima; of forces, which are next to nothing there, nothing is kept."""
    for number in range(done, arguments.count):
        atoms = cluster(np.random.default_rng((arguments.seed, number)))
        atoms.calc = TBLite(method=arguments.method, verbosity=0)
        LBFGS(atoms, logfile=None).run(fmax=FMAX, steps=STEPS)
        yield labelled(atoms, forces=False)


def motion(arguments: argparse.Namespace, done: int) -> Iterator[Atoms]:
    """Frames of short dynamics at 300 K from each of some structures."""
    starts = read(arguments.start, ":")
    for number in range(arguments.first + done // FRAMES, arguments.first + arguments.count // FRAMES):
        rng = np.random.default_rng((arguments.seed, number))
        atoms = starts[number]
        atoms.calc = TBLite(method=arguments.method, verbosity=0)
        MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=rng)
        dynamics = Langevin(atoms, TIMESTEP * units.fs, temperature_K=300, friction=0.02 / units.fs, rng=rng)
        frames = []
        for _ in range(FRAMES):
            dynamics.run(BETWEEN)
            frames.append(labelled(atoms, forces=True))
        yield from frames


def again(arguments: argparse.Namespace, done: int) -> Iterator[Atoms]:
    """The structures of another file."""
    for atoms in iread(arguments.start, f"{done}:"):
        atoms.calc = TBLite(method=arguments.method, verbosity=0)
        yield labelled(atoms, forces=True)


def cluster(rng: np.random.Generator) -> Atoms:
    """Some molecules of water with their oxygens in a ball, none too near another."""
    count = int(rng.integers(SIZES[0], SIZES[1] + 1))
    radius = SPACE * (3 * count / (4 * np.pi)) ** (1 / 3)
    places: list[np.ndarray] = []
    while len(places) < count:
        place = rng.uniform(-radius, radius, 3)
        if np.linalg.norm(place) < radius and all(np.linalg.norm(place - other) > NEAREST for other in places):
            places.append(place)
    atoms = Atoms()
    for place in places:
        water = molecule("H2O")
        water.rotate(rng.uniform(0.0, 360.0), rng.normal(size=3))
        water.positions += place - water.positions[0]
        atoms += water
    return atoms


def labelled(atoms: Atoms, *, forces: bool) -> Atoms:
    """A copy with the labels of its calculator, in eV and eV/Å."""
    found = Atoms(atoms.symbols, atoms.positions)
    found.info["REF_energy"] = atoms.get_potential_energy()
    if forces:
        found.arrays["REF_forces"] = atoms.get_forces()
    return found


if __name__ == "__main__":
    main()
