"""What a step of dynamics takes at each depth of a model with random weights: whole, in parts, and on two ranks.

    python benchmarks/depths_in_parts.py orb -o docs/measured/cpu/orb_depths_in_parts.json [--steps 1]
    python benchmarks/depths_in_parts.py jmp -o docs/measured/cpu/jmp_depths_in_parts.json --features 16

A thin bar of lithium, 140 Å long, so that halos of some tens of Å are less than all of it where it is cut in two.
Hidden layers of ORB have four times the features, as in released models; JMP has short lists within 5 Å. Times are
processor time, as other work on a machine does not count there; of two ranks, that of both together.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch, also for the ranks, which inherit it

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta
from md_ranks import TEMPERATURE, Dynamics

from halocline.cost.profile import Profile
from halocline.graph import NeighbourList, Structure
from halocline.model.backbone import Backbone
from halocline.model.build import build_backbone
from halocline.model.pruner import pruned
from halocline.partition import Cutter
from halocline.potential.potential import Potential
from halocline.program import Precision

#: Backend, partition, halo.
WAYS = {
    "whole": ("torch", "none", "recompute"),
    "two parts, recompute": ("torch", "rcb:2", "recompute"),
    "two parts, exchange": ("torch", "rcb:2", "exchange"),
    "two ranks, recompute": ("ddp:ranks=2", "rcb:2", "recompute"),
    "two ranks, exchange": ("ddp:ranks=2", "rcb:2", "exchange"),
}

#: Of JMP: lists, and what is half or a quarter as wide as its features.
LISTS = {"cutoff": 5.0, "main": 10, "mixed": 8, "close": 4, "pairs": 16, "degrees": 3, "softness": 0.05}
HALVES = ("triplet", "quadruplet", "pair")
QUARTERS = ("angular", "dihedral")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=["orb", "jmp"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--depths", type=int, nargs="+", default=[5, 2, 1])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS))
    parser.add_argument("--steps", type=int, default=1)
    arguments = parser.parse_args()
    atoms, width = bulk("Li", "bcc", a=3.51, cubic=True) * (1, 1, 40), arguments.features
    thermalize_momenta(atoms, TEMPERATURE, rng=np.random.default_rng(0))
    whole = model(arguments.model, width, max(arguments.depths))
    possible = [way for way, (*_, halo) in WAYS.items() if arguments.model == "orb" or halo == "recompute"]
    found = []
    for depth in arguments.depths:
        backbone = pruned(whole, depth) if depth < len(whole.layers) else whole
        potential = Potential(backbone, {"Li": 0.0}, {})
        row: dict[str, Any] = {"features": width, "layers": depth, "atoms": len(atoms), **halo(potential, atoms)}
        for way in arguments.ways or possible:
            row[way] = seconds(potential, atoms.copy(), way, arguments.steps)
        found.append(row)
        print(json.dumps(row), flush=True)
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


def model(name: str, width: int, layers: int) -> Backbone:
    """Of lithium, with random weights."""
    if name == "orb":
        sizes = {"features": width, "hidden": 4 * width, "head_hidden": width, "layers": layers}
    else:
        halves = {f"{each}_{way}": width // 2 for each in HALVES for way in ("in", "out")}
        quarters = dict.fromkeys(QUARTERS, width // 4)
        sizes = {
            "layers": layers,
            "atom": width,
            "edge": width,
            "radial": width // 2,
            **halves,
            **quarters,
            **LISTS,
        }
    return build_backbone(name, sizes | {"species": ["Li"]}, seed=0)


def halo(potential: Potential, atoms: Atoms) -> dict[str, Any]:
    """Hops, atoms in the halo of a half, and edges that both halves evaluate, over those of the whole."""
    backbone = potential.backbone
    graph = NeighbourList(backbone.neighbours, skin=0.0).graph(Structure.from_atoms(atoms))
    owners = (atoms.get_scaled_positions()[:, 2] >= 0.5).astype(np.int64)
    profile, edges, halos = Profile.of(backbone, Precision.FLOAT32), 0, []
    for part in range(2):
        cut = Cutter(graph.edges, len(atoms)).cut(np.flatnonzero(owners == part), profile.reach)
        halos.append(len(cut.atoms) - int((owners == part).sum()))
        edges += sum(cut.edge_levels[level] for level in profile.levels)
    return {
        "hops": profile.reach,
        "halo_atoms": max(halos),
        "redundancy": edges / (len(graph.edges) * len(profile.levels)),
    }


def seconds(potential: Potential, atoms: Atoms, way: str, steps: int) -> float:
    """Of processor time for one step."""
    backend, partition, rule = WAYS[way]
    evaluator = potential.evaluator(backend, "float32", "cpu", partition, rule)
    try:
        dynamics, found = Dynamics(atoms, potential, evaluator), []
        for _ in range(steps):
            before = processor_time()
            dynamics.step()
            found.append(processor_time() - before)
    finally:
        evaluator.close()
    return min(found)


def processor_time() -> float:
    """Seconds, of this process and of those that it started and that run."""
    total = time.process_time()
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = path.read_text().rpartition(")")[2].split()
        if int(fields[1]) == os.getpid():
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    main()
