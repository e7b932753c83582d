"""What a step of dynamics costs the driver: with atoms that live on ranks, and with atoms that it moves itself.

    python benchmarks/resident_driver.py -o docs/measured/cpu/resident_driver.json

Argon under Lennard-Jones, nve, a line of the log at every step, no frames; two ranks of one thread each on this
machine, which talk through gloo. Processor time is that of the driver's process alone. The largest structure is
dilute, so that ranks find room for its edges.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch, also for the ranks, which inherit it

import numpy as np
from ase import Atoms
from ase.build import bulk

import halocline
from halocline.dynamics import RunFiles, Settings, StepRecord, run_dynamics
from halocline.dynamics.resident_run import open_houses, run_resident
from halocline.partition import Division
from halocline.potential.potential import Potential

#: Cubic cells of four atoms along each axis, their edge in Å, and steps.
CASES = ((14, 5.4, 12), (29, 5.4, 8), (63, 14.0, 5))

#: The first steps wait for what is made once.
SKIPPED = 2

SETTINGS = Settings(ensemble="nve", temperature=90.0, timestep=12.0, frame_interval=10**9)
OPTIONS = {"backend": "ddp:ranks=2,timeout=600", "dtype": "float64", "device": "cpu", "halo": "recompute"}


class Clock:
    """Processor and wall-clock time at the end of every step."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def __call__(self, sample: StepRecord) -> None:
        """Take the time."""
        self.times.append((time.process_time(), time.perf_counter()))

    def per_step(self) -> dict[str, float]:
        """In ms; the last step has a checkpoint with it, and is left out."""
        processor, wall = 1e3 * np.diff(np.array(self.times), axis=0)[SKIPPED:-1].T
        numbers = {
            "driver_ms_median": np.median(processor),
            "driver_ms_mean": processor.mean(),
            "wall_ms_median": np.median(wall),
        }
        return {name: round(float(value), 3) for name, value in numbers.items()}


def run(atoms: Atoms, potential: Potential, engine: str, steps: int, folder: Path) -> dict[str, Any]:
    """What an engine takes for each step, and what it took to begin."""
    clock, begun = Clock(), time.process_time()
    common: dict[str, Any] = {"steps": steps, "checkpoint_interval": 10**9, "on_step": clock}
    files = RunFiles(folder / engine)
    if engine == "ranks":
        houses = open_houses(potential, **OPTIONS, compress=False)
        run_resident(atoms, potential, houses.residents(Division.parse("none")), SETTINGS, files, **common)
        houses.close()
    else:
        calculator = potential.calculator(**OPTIONS)
        run_dynamics(atoms, calculator, SETTINGS, files, **common)
        calculator.close()
    began = round(clock.times[0][0] - begun, 2)
    return {"atoms": len(atoms), "engine": engine, **clock.per_step(), "driver_s_to_begin": began}


def main() -> None:
    """Measure all cases, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    output = parser.parse_args().output
    potential, found = halocline.load("lennard-jones-argon"), []
    for cells, edge, steps in CASES:
        atoms = bulk("Ar", a=edge, cubic=True) * (cells, cells, cells)
        for engine in ("ranks", "ase"):
            with tempfile.TemporaryDirectory() as folder:
                found.append(run(atoms, potential, engine, steps, Path(folder)))
            print(json.dumps(found[-1] | {"load": os.getloadavg()[0]}), flush=True)
    output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
