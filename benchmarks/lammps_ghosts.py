"""Ghosts, evaluated atoms and edges, and time of steps in LAMMPS, by the depth of a model and the number of ranks.

    python -m halocline_lammps build -o pair.so
    halocline export MODEL --prune K --backend aot:kind=program -o model-K.pt2
    python benchmarks/lammps_ghosts.py --plugin pair.so --models model-1.pt2 model-2.pt2 --ranks 1 2

Rock salt with a = 5.64 Å, rattled by 0.05 Å, takes a few steps of NVE; LAMMPS tells how long pairs took. Prints a
table in Markdown.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import lammps_runs

SCRIPT = """
units metal
newton on
read_data data
plugin load {plugin}
pair_style halocline
pair_coeff * * {model} {elements}
timestep 0.001
fix move all nve
thermo {steps}
run {steps}
"""


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plugin", type=Path, required=True)
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--elements", nargs=2, default=["Na", "Cl"])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cells", type=int, default=6, help="of eight atoms, along each axis")
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * ([arguments.cells] * 3)
    atoms.rattle(0.05, seed=0)
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    print(f"{len(atoms)} atoms")
    print("| model | ranks | ghosts of a rank | s for pairs in a step |\n|---|---|---|---|")
    for model in arguments.models:
        for ranks in arguments.ranks:
            ghosts, seconds = measured(atoms, model, ranks, arguments)
            print(f"| {model.stem} | {ranks} | {ghosts:.0f} | {seconds:.3f} |", flush=True)


def measured(atoms: Atoms, model: Path, ranks: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Ghosts of a rank on average, and seconds of a step in the pair style."""
    script = SCRIPT.format(
        plugin=arguments.plugin.resolve(),
        model=model.resolve(),
        elements=" ".join(arguments.elements),
        steps=arguments.steps,
    )
    with tempfile.TemporaryDirectory() as folder:
        lammps_runs.write(atoms, folder, arguments.elements)
        said = lammps_runs.run(script, folder, ranks).stdout
    ghosts = re.search(r"^Nghost:\s+(\S+) ave", said, re.MULTILINE)
    pairs = re.search(r"^Pair\s+\|\s*\S+\s*\|\s*(\S+)", said, re.MULTILINE)
    if ghosts is None or pairs is None:
        raise SystemExit(said)
    return float(ghosts[1]), float(pairs[1]) / (arguments.steps + 1)


if __name__ == "__main__":
    main()
