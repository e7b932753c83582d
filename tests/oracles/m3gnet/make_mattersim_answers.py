"""Make the answers of MatterSim with weights from a seed; see the README beside this file."""

from __future__ import annotations

import json

import numpy as np
import torch
from oracles.m3gnet.mattersim_oracle import MattersimOracle
from oracles.m3gnet.records import FOLDER, read_structures, write_answers
from oracles.m3gnet.report import check_clearance, say

SEED = 20261121

#: Sizes: a small one, and the two that were published; every so-many-th structure is evaluated.
MODELS = {
    "mattersim-small": ({"num_blocks": 3, "units": 16}, 1),
    "mattersim-1m": ({"num_blocks": 3, "units": 128}, 2),
    "mattersim-5m": ({"num_blocks": 4, "units": 256}, 4),
}


def main() -> None:
    """Make the answers for the structures that `make_answers` wrote."""
    torch.set_num_threads(1)
    structures = read_structures(FOLDER / "structures-universal.npz")
    check_clearance(structures)
    for name, (arguments, every) in MODELS.items():
        oracle = MattersimOracle(SEED, **arguments)
        known = {key: structures[key] for key in list(structures)[::every]}
        answers = {
            precision: {key: oracle.evaluate(atoms, precision) for key, atoms in known.items()}
            for precision in ("float64", "float32")
        }
        facts = {"config": np.array(json.dumps(oracle.arguments)), "seed": np.array(SEED)}
        write_answers(FOLDER / f"{name}.npz", answers, **facts, **oracle.constants)
        forces = np.abs(np.concatenate([answer.forces for answer in answers["float64"].values()]))
        median, largest = np.median(forces), forces.max()
        say(f"{name}: {len(known)} structures; median force {median:.2g} eV/Å, largest {largest:.2g}")


if __name__ == "__main__":
    main()
