"""Steps of the plain model, with kernels, and with tables besides: how much faster, how far off, and what ran.

    python benchmarks/compress.py --json docs/measured/cpu/compress.json

All take turns on the same structures in one process on one thread; a step is what dynamics asks of a calculator
once atoms have moved, neighbours included. Ratios are of CPU time. Errors are held against float64.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=MODEL, help="[%(default)s]")
    parser.add_argument("--backend", action="append", help="repeatable [torch, compiled, ONNX]")
    parser.add_argument("--boxes", type=int, nargs="+", default=(1, 2), help="of 192 atoms, along each side")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write here")
    arguments = parser.parse_args()
    keep_memory({})
    torch.set_num_threads(1)
    water = read(Path(__file__).parents[1] / "examples" / "water.extxyz")
    rows = []
    for backend in arguments.backend or BACKENDS:
        calculators = ways(arguments.model, backend)
        for boxes in arguments.boxes:
            found = measure(arguments.model, calculators, water.repeat(3 * (boxes,)), arguments.steps)
            rows.append({"backend": backend} | found)
            print(json.dumps(rows[-1]), flush=True)
    if arguments.json:
        report = {
            "machine": describe_machine(),
            "torch": torch.__version__,
            "model": arguments.model,
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def ways(model: str, backend: str) -> dict[str, HaloclineCalculator]:
    """Calculators: ``plain``, where every stage runs as it is written; ``kernels``; and ``tables`` besides.

    Backends that know no kernels but tables are ``plain`` without these.
    """
    potential, has_kernels = halocline.load(model), backend.startswith("torch")
    off = f"{backend}{',' if ':' in backend else ':'}kernels=off" if has_kernels else backend
    found = {"plain": potential.calculator(backend=off, device="cpu")}
    if has_kernels:
        found["kernels"] = potential.calculator(backend=backend, device="cpu")
    return found | {"tables": potential.calculator(backend=backend, device="cpu", compress=True)}


def measure(
    model: str, calculators: dict[str, HaloclineCalculator], atoms: Atoms, steps: int
) -> dict[str, object]:
    """Time steps of all calculators on one structure."""
    random = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {way: [] for way in calculators}
    exact = halocline.load(model).calculator(backend="torch:kernels=off", dtype="float64", device="cpu")
    errors = {}
    for step in range(steps + 2):
        moved = atoms.copy()
        moved.positions += random.normal(0.0, MOVED, moved.positions.shape)
        for way, calculator in calculators.items():
            begin = time.process_time()
            calculator.calculate(moved)
            if step >= 2:  # the first ones search neighbours, and fill caches
                seconds[way].append(time.process_time() - begin)
        if step == 0:
            exact.calculate(moved)
            errors = {w: errors_of(c.results, exact.results, len(atoms)) for w, c in calculators.items()}
    taken = {way: 1e6 * float(np.median(each)) / len(atoms) for way, each in seconds.items()}
    return {
        "atoms": len(atoms),
        "us_per_atom": taken,
        "tables_over": {way: taken[way] / taken["tables"] for way in taken if way != "tables"},
        "errors": errors,
        "ran": {way: ran(calculator) for way, calculator in calculators.items()},
        "load": os.getloadavg()[0],
    }


def ran(calculator: HaloclineCalculator) -> dict[str, list[str]]:
    """Kernel and version → stages that it runs; nothing where stages run as they are written."""
    found = defaultdict(list)
    for each in calculator.replaced:
        found[f"{each.kernel} {each.version}"].append(each.stage)
    return dict(found)


def errors_of(found: dict[str, Any], exact: dict[str, Any], atoms: int) -> dict[str, float]:
    """Of the energy, and of the worst force."""
    return {
        "energy_eV_per_atom": float(abs(found["energy"] - exact["energy"])) / atoms,
        "force_eV_per_A": float(np.abs(found["forces"] - exact["forces"]).max()),
    }


if __name__ == "__main__":
    main()
