"""Where a step of dynamics goes, section by section, from 3 atoms to 20,000.

    python benchmarks/step_shares.py --json FILE [--models NAME ...] [--atoms 3 96 1000 20000] [--compress]

Runs `halocline profile --md` on one thread, each in a process of its own: SchNet and MACE on water, universal
models of the zoo that are here on copper. The last two columns are what the rest of a step takes: all but the
network, with the search for neighbours as often as dynamics need one. Marks of sections, a few µs each, are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from peers import structures

import halocline
from halocline.files import write_atomically

MODELS = ("water-revpbe0d3-schnet", "water-revpbe0d3-mace")
ATOMS = (3, 96, 1000, 20_000)

#: Atom-steps of a run, and the steps that it has at least and at most.
WORK, FEWEST, MOST = 200_000, 20, 300


def main() -> None:
    """Run all, print a line for each, and write reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="write here, after each run")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--atoms", nargs="+", type=int, default=ATOMS)
    parser.add_argument("--compress", action="store_true", help="radial functions from tables")
    arguments = parser.parse_args()
    reports: list[dict[str, Any]] = []
    print("model                     atoms  steps  CPU ms  network  rest, ms  rest, µs/atom")
    for model in arguments.models:
        for size in arguments.atoms:
            before = os.getloadavg()[0]
            report = profiled(model, structure(model, size), arguments.compress)
            reports.append(report | {"load": [before, os.getloadavg()[0]]})
            write_atomically(arguments.json, (json.dumps({"runs": reports}, indent=1) + "\n").encode())
            step, network = report["step"]["cpu_ms"], report["sections"]["network"]["cpu_ms"]
            rest, atoms = step - network, report["atoms"]
            of_atom = 1e3 * rest / atoms
            print(
                f"{model:24}{atoms:7}{report['steps']:7}{step:8.2f}{network:9.2f}{rest:10.2f}{of_atom:15.2f}",
                flush=True,
            )


def structure(model: str, atoms: int) -> Atoms:
    """Water, one molecule in a box of its own at the least, for models of it; copper for others."""
    if not set(halocline.load(model).backbone.species) <= {"H", "O"}:
        return structures.structure("copper", atoms)
    if atoms > 96:
        return structures.structure("water", atoms)
    if atoms > 3:
        return read(Path(__file__).parents[1] / "docs" / "measured" / "cpu" / "water-96.extxyz")
    alone = molecule("H2O", cell=[20.0] * 3, pbc=True)
    alone.center()
    return alone


def profiled(model: str, atoms: Atoms, compress: bool) -> dict[str, Any]:
    """The report of ``halocline profile --md``, on one thread."""
    steps = max(FEWEST, min(MOST, WORK // len(atoms)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "start.extxyz")
        write(path, atoms)
        command = [sys.executable, "-m", "halocline", "profile", "--md", str(path), "-m", model, "--device", "cpu"]
        command += ["--steps", str(steps), "--json", *["--compress"] * compress]
        ended = subprocess.run(
            command, capture_output=True, text=True, env=dict(os.environ) | {"OMP_NUM_THREADS": "1"}
        )
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}: {ended.stderr.strip()}")
    report: dict[str, Any] = json.loads(ended.stdout)
    return report | {"structure": atoms.get_chemical_formula()}


if __name__ == "__main__":
    main()
