"""Make the answers of the published MatGL potentials; see the README beside this file."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from oracles.m3gnet.lattice_table import lattice_constant, read_table
from oracles.m3gnet.matgl_oracle import MatglOracle
from oracles.m3gnet.records import FOLDER, write_answers, write_structures
from oracles.m3gnet.report import check_clearance, say
from oracles.m3gnet.structures import organic, universal

MODELS = {
    "matpes-pbe": "M3GNet-MatPES-PBE-v2025.1-PES",
    "matpes-r2scan": "M3GNet-MatPES-r2SCAN-v2025.1-PES",
    "mp-2021": "M3GNet-MP-2021.2.8-PES",
    "ani-1x": "M3GNet-ANI-1x-Subset-PES",
}

#: The published constants were relaxed until some force was small enough, not to the end: Å.
TABLE_MEDIAN = 5e-4


def main() -> None:
    """Prove the oracle, then make the answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="folder that holds the four folders of MatGL's potentials")
    parser.add_argument("--every", type=int, default=7, help="take every so-many-th row of the table of crystals")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    prove(arguments.weights / MODELS["mp-2021"], arguments.every)
    structures = {"universal": universal(), "organic": organic()}
    for name, every in structures.items():
        check_clearance(every)
        write_structures(FOLDER / f"structures-{name}.npz", every)
    for name, folder in MODELS.items():
        oracle = MatglOracle(arguments.weights / folder)
        known = structures["organic" if name == "ani-1x" else "universal"]
        answers = {
            precision: {key: oracle.evaluate(atoms, precision) for key, atoms in known.items()}
            for precision in ("float64", "float32")
        }
        write_answers(FOLDER / f"{name}.npz", answers, **oracle.basis_constants())
        say(f"{name}: {len(known)} structures, {len({s for a in known.values() for s in a.symbols})} elements")


def prove(folder: Path, every: int) -> None:
    """Print lattice constants beside the published ones, and stop unless they agree."""
    rows = list(read_table(folder / "README.md"))[::every]
    oracle = MatglOracle(folder)
    deviations = []
    for row in rows:
        found = lattice_constant(row, lambda atoms: oracle.evaluate(atoms, "float64").stress)
        deviations.append(abs(found - row.a))
        say(f"{row.material:12} {row.lattice:18} published {row.a:8.5f}  found {found:8.5f}  {found - row.a:+.5f}")
    median = np.nanmedian(deviations)
    near = sum(deviation <= 1e-3 for deviation in deviations)
    say(f"{len(rows)} crystals: median deviation {median:.1e} Å, {near} within 1e-3 Å")
    if not median <= TABLE_MEDIAN:
        raise SystemExit("The oracle does not reproduce the published table; no answers were made.")


if __name__ == "__main__":
    main()
