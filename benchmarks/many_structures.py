"""Structures per processor second, many at a time beside one after another.

    OMP_NUM_THREADS=1 python benchmarks/many_structures.py [--json FILE]

Both are measured in turn in one process on one thread, and the ratio, the median over repetitions, is what means
something elsewhere. Waters are single molecules with the model that is shipped; molecules and crystals are
evaluated by an M3GNet of the published size, whose weights are random: they change no time. All in float32.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

import halocline
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

CRYSTALS = (
    ("MgO", "rocksalt", 4.21),
    ("NaCl", "rocksalt", 5.64),
    ("ZnS", "zincblende", 5.41),
    ("CsCl", "cesiumchloride", 4.12),
)
MOLECULES = ("CH3OH", "C2H4", "CH3CN", "CH3CHO", "H2COH", "C2H2", "CO2")
SPECIES = ("C", "Cl", "Cs", "H", "Mg", "N", "Na", "O", "S", "Zn")


def m3gnet() -> Potential:
    """As large as the published ones."""
    backbone = build_backbone("m3gnet", {"species": list(SPECIES)}, seed=1)
    return Potential(backbone, dict.fromkeys(SPECIES, 0.0), {})


def rattled(structures: list[Atoms], count: int) -> list[Atoms]:
    """So many structures, no two alike."""
    found = []
    for seed in range(count):
        atoms = structures[seed % len(structures)].copy()
        atoms.rattle(0.03, seed=seed)
        found.append(atoms)
    return found


def cases() -> dict[str, tuple[Potential, list[Atoms]]]:
    """By name, a model and its structures."""
    universal = m3gnet()
    crystals = [bulk(name, kind, a, cubic=True) for name, kind, a in CRYSTALS]
    return {
        "64 waters": (halocline.load("water-revpbe0d3-schnet"), rattled([molecule("H2O")], 64)),
        "200 molecules": (universal, rattled(list(map(molecule, MOLECULES)), 200)),
        "200 small crystals": (universal, rattled(crystals, 200)),
    }


def seconds(work: Callable[[], object]) -> float:
    """Of the processor."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measured(potential: Potential, structures: list[Atoms], repeats: int) -> dict[str, float]:
    """Structures per processor second, both ways, and the median ratio."""
    ways = (lambda: [potential(atoms) for atoms in structures], lambda: potential(structures))
    for way in ways:
        way()
    pairs = [[seconds(way) for way in ways] for _ in range(repeats)]
    alone, together = (len(structures) / median(column) for column in zip(*pairs, strict=True))
    return {
        "atoms": float(np.mean([len(atoms) for atoms in structures])),
        "alone_per_s": alone,
        "together_per_s": together,
        "ratio": median(one / many for one, many in pairs),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("halocline").setLevel(logging.ERROR)  # that models extrapolate here
    print("                     atoms   alone/s   together/s   ratio")
    rows = {}
    for name, case in cases().items():
        row = rows[name] = measured(*case, arguments.repeats)
        atoms, alone, together, ratio = row.values()
        print(f"{name:20} {atoms:5.1f} {alone:9.1f} {together:12.1f} {ratio:7.1f}", flush=True)
    if arguments.json:
        machine = {"processor": platform.machine(), "torch": torch.__version__, "halocline": halocline.__version__}
        arguments.json.write_text(
            json.dumps({"cases": rows, "machine": machine}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
