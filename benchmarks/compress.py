"""Steps with and without ``--compress``: how much faster, and how far off.

    python benchmarks/compress.py --json docs/measured/cpu/compress.json

Both calculators take turns on the same structures in one process on one thread; a step is what dynamics asks of a
calculator once atoms have moved, neighbours included. Ratios are of CPU time. Errors are held against float64.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import read

import halocline
from halocline.allocation import keep_memory
from halocline.doctor import describe_machine
from halocline.potential.calculator import HaloclineCalculator

MODEL = "water-revpbe0d3-schnet"
BACKENDS = ("torch", "torch:compile=inductor", "onnx:threads=1")
#: Å, by which atoms move between two steps: what water does at 300 K in about a femtosecond.
MOVED = 0.01


def main() -> None:
    """Measure every backend, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", action="append", help="repeatable [torch, compiled, ONNX]")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write here")
    arguments = parser.parse_args()
    keep_memory({})
    torch.set_num_threads(1)
    water = read(Path(__file__).parents[1] / "examples" / "water.extxyz")
    rows = []
    for backend in arguments.backend or BACKENDS:
        calculators = {
            c: halocline.load(MODEL).calculator(backend=backend, device="cpu", compress=c) for c in (False, True)
        }
        for repeats in ((1, 1, 1), (2, 2, 2)):
            rows.append(measure(backend, calculators, water.repeat(repeats), arguments.steps))
            print(json.dumps(rows[-1]), flush=True)
    if arguments.json:
        report = {"machine": describe_machine(), "torch": torch.__version__, "model": MODEL, "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def measure(
    backend: str, calculators: dict[bool, HaloclineCalculator], atoms: Atoms, steps: int
) -> dict[str, object]:
    """Time steps of both calculators on one structure."""
    random = np.random.default_rng(0)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    exact = halocline.load(MODEL).calculator(dtype="float64", device="cpu")
    errors = {False: (0.0, 0.0), True: (0.0, 0.0)}
    for step in range(steps + 2):
        moved = atoms.copy()
        moved.positions += random.normal(0.0, MOVED, moved.positions.shape)
        for compress, calculator in calculators.items():
            begin = time.process_time()
            calculator.calculate(moved)
            if step >= 2:  # the first ones search neighbours, and fill caches
                seconds[compress].append(time.process_time() - begin)
        if step == 0:
            exact.calculate(moved)
            for compress, calculator in calculators.items():
                errors[compress] = errors_of(calculator.results, exact.results, len(atoms))
    plain, fast = (1e6 * float(np.median(seconds[c])) / len(atoms) for c in (False, True))
    return {
        "backend": backend,
        "atoms": len(atoms),
        "us_per_atom": {"plain": plain, "compressed": fast},
        "ratio": plain / fast,
        "energy_error_eV_per_atom": {"plain": errors[False][0], "compressed": errors[True][0]},
        "force_error_eV_per_A": {"plain": errors[False][1], "compressed": errors[True][1]},
    }


def errors_of(found: dict[str, Any], exact: dict[str, Any], atoms: int) -> tuple[float, float]:
    """Of the energy, eV per atom, and of the worst force, eV/Å."""
    energy = abs(found["energy"] - exact["energy"]) / atoms
    return float(energy), float(np.abs(found["forces"] - exact["forces"]).max())


if __name__ == "__main__":
    main()
