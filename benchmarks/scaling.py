"""Scaling over ranks: measured from one to two, predicted beyond, and the model held against published tables.

    python benchmarks/scaling.py [--atoms 3000] [--repeats 15]               one rank against two, on the CPU
    python benchmarks/scaling.py --predict [--plot docs/scaling.png]         up to 512 devices
    python benchmarks/scaling.py --published                                 the cost model against other engines

Predictions are for the speeds that are given; their defaults are assumptions about a GPU, not measurements. The
driver's work per atom is measured on this machine unless --per-atom says otherwise.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: one thread for the driver, and for each rank that inherits it

import scaling_predicted as prediction
import scaling_published as published
from scaling_measured import driver_seconds, resident_seconds, strong_and_weak

import halocline
from halocline.cost.profile import Profile
from halocline.cost.speeds import Speeds
from halocline.program import Precision

MODEL = "water-revpbe0d3-schnet"

#: Of the structure that the driver's work is measured on.
DRIVER_ATOMS = 20_000


def measure(arguments: argparse.Namespace) -> None:
    """Print ratios; times of a shared machine would mean little."""
    potential = halocline.load(MODEL)
    print("time of one process over that of two ranks, median over pairs of steps")
    for what, ratio in strong_and_weak(potential, arguments.atoms, arguments.density, arguments.repeats).items():
        print(f"{what}: {ratio:.2f}")


def predict(arguments: argparse.Namespace) -> None:
    """Print tables for one model and one kind of machine, and draw them."""
    potential = halocline.load(MODEL)
    assert potential.cutoff is not None
    model = prediction.Model(
        Profile.of(potential.backbone, Precision.FLOAT32), potential.cutoff, arguments.density
    )
    per_atom = arguments.per_atom
    if per_atom is None:
        per_atom = driver_seconds(potential, DRIVER_ATOMS, arguments.density, arguments.interval)
    speeds = Speeds(arguments.per_edge, arguments.rate, arguments.latency, seconds_per_atom=per_atom)
    print(f"{MODEL}: {model.profile}\n{speeds}")
    prediction.show_redundancy(model, (1e5, 1e6), (1, 2, 3))
    tables = {
        "strong": prediction.strong(model, 1e6, speeds),
        "strong, ranks alone": prediction.strong(model, 1e6, prediction.ranks_alone(speeds)),
        "weak": prediction.weak(model, 1e4, speeds),
        "weak, ranks alone": prediction.weak(model, 1e4, prediction.ranks_alone(speeds)),
    }
    for title, rows in tables.items():
        prediction.show(title, rows)
    held = resident_seconds(potential, DRIVER_ATOMS, arguments.density, arguments.interval)
    for own, what in ((held, "as measured"), (0.0, "own work for nothing")):
        for atoms_of, title in ((lambda devices: 1e6, "a million atoms"), (lambda devices: 1e4 * devices, "weak")):
            rows = [
                prediction.resident(model, devices, atoms_of(devices), speeds, own)
                for devices in prediction.DEVICES
            ]
            prediction.show_resident(f"atoms live on ranks, {title}, {what}", rows)
    if arguments.plot:
        from scaling_plot import draw

        draw(tables, arguments.plot)


def main() -> None:
    """Read options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--predict", action="store_true")
    what.add_argument("--published", action="store_true")
    parser.add_argument("--atoms", type=int, default=3000)
    parser.add_argument("--density", type=float, default=0.1, help="atoms/Å³")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--per-edge", type=float, default=25e-9, help="seconds for an edge in a layer")
    parser.add_argument("--per-atom", type=float, help="seconds of the driver for an atom in a step")
    parser.add_argument("--interval", type=int, default=40, help="steps between searches for neighbours")
    parser.add_argument("--rate", type=float, default=25e9, help="bytes/s of a link")
    parser.add_argument("--latency", type=float, default=20e-6, help="seconds")
    parser.add_argument("--plot", type=Path, help="PNG of --predict")
    arguments = parser.parse_args()
    if arguments.predict:
        predict(arguments)
    elif arguments.published:
        for table in (published.FAIRCHEM, published.SYMMETRIX):
            published.show(table)
    else:
        measure(arguments)


if __name__ == "__main__":
    main()
