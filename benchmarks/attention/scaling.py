"""Time and memory of energies and forces of liquid water, by atoms and by neighbours.

    PYTHONPATH=benchmarks OMP_NUM_THREADS=1 python -m attention.scaling -o RESULT.json

Models are seeded and about as large as each other; each point has a process of its own, which evaluates 24 atoms
first: memory is what it holds at most beyond that. Time is the processor's, the least of a few calls. The file is
written after each point, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import ase.io
import numpy as np
import torch
from ase import Atoms
from matrix.record import measured_on

from attention.models import MODELS, config_of, parameters
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

BOX: Final = Path(__file__).parents[2] / "docs" / "measured" / "cpu" / "water-96.extxyz"

#: Neighbours that EScAIP keeps, and about how many of an atom of water the others have within `CUTOFF`.
KEPT, AROUND = 30, 52

#: Copies of 96 atoms along the axes.
REPEATED: Final = {96: (1, 1, 1), 192: (2, 1, 1), 384: (2, 2, 1), 768: (2, 2, 2), 1536: (4, 2, 2)}

#: Neighbours that are listed, in so many atoms.
NEIGHBOURS, ATOMS = (12, 24, 48, 96), 96

#: Å, of EScAIP where neighbours are listed by their number.
WIDE = 7.0

CALLS = 2


class Point(NamedTuple):
    """One value of one axis for one model."""

    model: str
    axis: str
    value: int


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    if arguments.output.exists():
        rows = json.loads(arguments.output.read_text())["rows"]
    done = {tuple(row[name] for name in Point._fields) for row in rows}
    for point in points():
        if point not in done:
            rows.append(dict(point._asdict()) | in_a_process(point))
            print(json.dumps(rows[-1]), flush=True)
            document = {"measured": measured_on("cpu", "attention"), "rows": rows}
            arguments.output.write_text(json.dumps(document, indent=1) + "\n")


def points() -> Iterator[Point]:
    """All of them, small ones first."""
    axes = [("atoms", value) for value in REPEATED] + [("neighbours", value) for value in NEIGHBOURS]
    for axis, value in axes:
        for model in MODELS:
            yield Point(model, axis, value)


def in_a_process(point: Point) -> dict[str, Any]:
    """What a child finds, which inherits imports and nothing that was computed."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writes, "w") as stream:
            json.dump(measured(point), stream)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    found: dict[str, Any] = json.loads(text)
    return found


def measured(point: Point) -> dict[str, Any]:
    """Milliseconds for an atom, and megabytes beyond those of 24 atoms."""
    potential = model(point)
    atoms = water(point.value if point.axis == "atoms" else ATOMS)
    options = {"dtype": "float32", "device": "cpu"}
    potential(few(atoms), **options)
    before = most_memory()
    times = []
    for _ in range(CALLS):
        started = time.process_time()
        potential(atoms, **options)
        times.append(time.process_time() - started)
    return {
        "atoms": len(atoms),
        "parameters": parameters(potential.backbone),
        "ms_per_atom": 1e3 * min(times) / len(atoms),
        "MB": (most_memory() - before) / 1e6,
    }


def model(point: Point) -> Potential:
    """Seeded; EScAIP lists the nearest neighbours in a wide cutoff, others all in a narrow one."""
    name, backbone = point.model, MODELS[point.model].backbone
    if point.axis == "atoms":
        config = config_of(name, KEPT if backbone == "escaip" else AROUND)
    elif backbone == "escaip":
        config = config_of(name, point.value // 2, cutoff=WIDE)
    else:
        atoms = water(ATOMS)
        density = len(atoms) / float(atoms.get_volume())
        config = config_of(name, point.value, cutoff=(point.value / (4 / 3 * math.pi * density)) ** (1 / 3))
    return Potential(build_backbone(backbone, config | {"species": ["H", "O"]}, seed=0), {"H": 0.0, "O": 0.0}, {})


def water(count: int) -> Atoms:
    """Liquid water, shaken, so that copies differ."""
    atoms: Atoms = ase.io.read(BOX, 0) * REPEATED[count]
    atoms.positions += np.random.default_rng(0).normal(scale=0.02, size=atoms.positions.shape)
    return atoms


def few(atoms: Atoms) -> Atoms:
    """24 atoms of them, as a cluster."""
    cluster = atoms[:24]
    cluster.pbc = False
    return cluster


def most_memory() -> float:
    """Bytes that this process has held at most."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024.0 * float(found[1])


if __name__ == "__main__":
    main()
