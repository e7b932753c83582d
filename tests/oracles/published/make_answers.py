"""What packages say of their published models; README.md says how to run this.

python make_answers.py PACKAGE                     all its models, into PACKAGE.npz
python make_answers.py PACKAGE --compare MODEL     one model, and how far it is from what PACKAGE.npz has
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from oracles.published.structures import for_chgnet, wide  # noqa: E402

STRUCTURES = {"matgl": wide, "sevennet": wide, "nequix": wide, "chgnet": for_chgnet}


def main() -> None:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", choices=STRUCTURES)
    parser.add_argument("--compare", metavar="MODEL")
    given = parser.parse_args()
    package = importlib.import_module(f"oracles.published.with_{given.package}")
    structures = STRUCTURES[given.package]()
    found = flat(structures)
    for model in [given.compare] if given.compare else package.MODELS:
        for name, evaluate in package.answers(model).items():
            found |= {f"{name}: {key}": values for key, values in of_all(structures, evaluate).items()}
    file = HERE / f"{given.package}.npz"
    if given.compare:
        print_differences(found, file)
    else:
        np.savez_compressed(file, **found)


def flat(structures: dict[str, Atoms]) -> dict[str, np.ndarray]:
    """Structures one after another."""
    frames = structures.values()
    return {
        "names": np.array(list(structures)),
        "counts": np.array([len(atoms) for atoms in frames]),
        "numbers": np.concatenate([atoms.numbers for atoms in frames]).astype(np.uint8),
        "positions": np.concatenate([atoms.positions for atoms in frames]),
        "cells": np.stack([atoms.cell.array for atoms in frames]),
    }


def of_all(structures: dict[str, Atoms], evaluate: Callable[[Atoms], dict]) -> dict[str, np.ndarray]:
    """What one model says of all structures."""
    said = [evaluate(atoms) for atoms in structures.values()]
    found = {
        "energies": np.array([np.sum(one["energies"]) for one in said]),
        "forces": np.concatenate([np.asarray(one["forces"]).reshape(-1, 3) for one in said]),
        "stress": np.array([one["stress"] for one in said]),
    }
    if "moments" in said[0]:
        found["moments"] = np.concatenate([one["moments"] for one in said])
    return found


def print_differences(found: dict[str, np.ndarray], file: Path) -> None:
    """Key by key, the largest one."""
    with np.load(file) as arrays:
        for key, values in found.items():
            if key == "names":
                assert list(values) == list(arrays[key])
            else:
                sys.stdout.write(f"{key}: {np.abs(values - arrays[key].astype(values.dtype)).max():.1e}\n")


if __name__ == "__main__":
    main()
