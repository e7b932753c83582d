"""How the cost of a step grows with atoms, neighbours, layers, channels and ranks.

    python -m peers.growth --output FILE [--way torch+compress] [--axes atoms layers ...] [--plot FILE] [--quick]
                           [--limit SECONDS]

One thing is changed at a time from a thousand atoms of silicon with 57.7 neighbours and the sizes of models in
`models.MODELS`; ranks share ten thousand. A step is that of `peers.comparison`. Each point has a process of its
own with one thread, ranks one for each. The file is written after each; the same command goes on where it stopped.
Large structures come last, and one that would take more memory than there is, by the one before it, is evaluated
in parts within what there is, as its record says.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from ase import Atoms
from matrix.record import measured_on

from halocline.bench.structures import disordered_box
from halocline.doctor.machine import free_memory, total_memory
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential
from peers import structures
from peers.comparison import WARM_UP
from peers.contender import ours
from peers.growth_file import GrowthFile, Row, draw
from peers.models import CUTOFF, MODELS, NEIGHBOURS, digest, schnet
from peers.runner import FAR, SHARE_OF_MEMORY, Runner
from peers.worker import Worker

#: Models, and the name of what `MODELS` calls channels in their configs.
CHANNELS: Final = {"schnet": "features", "mace-L0": "channels", "mace-L1": "channels"}

AXES: Final[dict[str, tuple[int, ...]]] = {
    "atoms": (64, 216, 1000, 10648, 97336),
    "neighbours": (10, 20, 40, 80, 160),
    "layers": (1, 2, 3, 4),
    "channels": (32, 64, 128, 256),
    "ranks": (1, 2),
}

#: Of the points that are changed from, in each size; and values above which quick runs do not go.
ATOMS, ATOMS_OF_RANKS, QUICK_ATOMS = 1000, 10648, 10648

#: Steps that are timed.
STEPS, QUICK_STEPS, STEPS_IN_PARTS = 7, 3, 2

SILICON: Final = (14,)


class Point(NamedTuple):
    """One value of one axis, for one model."""

    model: str
    axis: str
    value: int


def main(given: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, and print exponents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the JSON file; what it has already is kept")
    parser.add_argument("--plot", type=Path, help="a PNG")
    parser.add_argument("--models", nargs="+", choices=CHANNELS, default=tuple(CHANNELS))
    parser.add_argument("--axes", nargs="+", choices=AXES, default=tuple(AXES))
    parser.add_argument("--way", default="torch+compress", help="backend, and +compress for tables [%(default)s]")
    parser.add_argument("--million", action="store_true", help="go to a million atoms")
    parser.add_argument("--quick", action="store_true", help=f"to {QUICK_ATOMS:,} atoms, fewer steps")
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds after which no point begins")
    arguments = parser.parse_args(given)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    file = GrowthFile(arguments.output, measured_on("cpu", "peers") | {"way": arguments.way})
    started = time.monotonic()
    for point in sorted(points(arguments), key=_is_large):
        if file.has(point):
            continue
        if time.monotonic() - started > arguments.limit:
            print("The time is over; the same command goes on from here.", file=sys.stderr)
            break
        print(f"{point.model} {point.axis} {point.value:,}", file=sys.stderr, flush=True)
        steps = QUICK_STEPS if arguments.quick else STEPS
        memory = bound_on_memory(point, file.rows)
        file.add(dict(point._asdict()) | measured(point, arguments.way, steps, memory))
    print(file.text())
    if arguments.plot:
        draw(file.rows, arguments.plot)
    return int(any("failure" in row for row in file.rows))


def points(arguments: argparse.Namespace) -> Iterator[Point]:
    """All that are asked for."""
    for model in arguments.models:
        for axis in arguments.axes:
            values = AXES[axis] + (1_000_000,) * (arguments.million and axis == "atoms")
            for value in values:
                if not (arguments.quick and axis == "atoms" and value > QUICK_ATOMS):
                    yield Point(model, axis, value)


def _is_large(point: Point) -> bool:
    return point.axis == "atoms" and point.value > QUICK_ATOMS


def bound_on_memory(point: Point, rows: Sequence[Row]) -> str | None:
    """Within how much memory a structure is evaluated, by the largest smaller one; None if it fits whole."""
    smaller = [
        row
        for row in rows
        if (row["model"], row["axis"]) == (point.model, "atoms") and "peak" in row and row["value"] < point.value
    ]
    if point.axis != "atoms" or not smaller:
        return None
    before = max(smaller, key=lambda row: int(row["value"]))
    loaded, free = before["resident_when_loaded"], free_memory()
    needed = loaded + (before["peak"] - loaded) * point.value / before["value"]
    # What holds caches only is there for whoever asks.
    return None if needed <= SHARE_OF_MEMORY * free else f"{int(SHARE_OF_MEMORY * total_memory() / 2**30)}GiB"


def measured(point: Point, way: str, steps: int, memory: str | None = None) -> dict[str, Any]:
    """What `Runner` finds of a point, with the number of atoms and neighbours.

    Args:
        point: that is measured.
        way: how this package runs.
        steps: that are timed.
        memory: within which it is evaluated in parts; None for whole.
    """
    contender, warm_up = ours(way, sys.executable), WARM_UP
    if memory is not None:  # a step takes minutes, and has no need of another one before it
        contender = replace(contender, options=dict(contender.options) | {"memory": memory})
        steps, warm_up = STEPS_IN_PARTS, 0
    if point.axis == "ranks" and point.value > 1:
        contender = replace(contender, options=dict(contender.options) | {"backend": f"ddp:ranks={point.value}"})
    atoms = structure(point)
    with tempfile.TemporaryDirectory() as folder:
        model, path = Path(folder, "model.safetensors"), Path(folder, "structure.npz")
        potential(point).save(model)
        moved = structures.write(atoms, path)
        with Worker(contender, model, 1, "cpu") as worker:
            runner = Runner(contender)
            runner.load(worker, digest(model))
            runner.begin(path, len(atoms), 0, 0.0)
            for number in range(1, 1 + warm_up + steps):
                runner.step(number, timed=number > warm_up)
            runner.results(folder)  # which tells of skins
            runner.search(1 + warm_up + steps + math.ceil(FAR / moved))
            runner.finish(folder, len(atoms), moved)
    counted = {"atoms": len(atoms), "neighbours": structures.neighbours(atoms, CUTOFF), "load": os.getloadavg()[0]}
    return counted | ({} if memory is None else {"within": memory}) | runner.found


def potential(point: Point) -> Potential:
    """The model of a point; its structures are of silicon."""
    sizes = dict(MODELS[point.model].sizes)
    if point.axis == "layers":
        sizes["layers"] = point.value
    elif point.axis == "channels":
        sizes[CHANNELS[point.model]] = point.value
    if point.model == "schnet":
        return schnet(sizes, SILICON)
    sizes["hidden_degree"] = sizes.pop("degree")
    config = sizes | {"species": ["Si"], "cutoff": CUTOFF, "average_neighbours": NEIGHBOURS}
    return Potential(build_backbone("mace", config), {"Si": 0.0}, {"name": point.model})


def structure(point: Point) -> Atoms:
    """Silicon; for numbers of neighbours without order, as shells of a crystal come all at once."""
    if point.axis == "neighbours":
        return disordered_box(("Si",), ATOMS, point.value / (4 / 3 * math.pi * CUTOFF**3))
    sizes = {"atoms": point.value, "ranks": ATOMS_OF_RANKS}
    return structures.structure("silicon", sizes.get(point.axis, ATOMS))


if __name__ == "__main__":
    sys.exit(main())
