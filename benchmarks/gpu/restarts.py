"""Dynamics in two parts beside dynamics in one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase.io import read

import halocline
from gpu.parity import BOX, WATER
from gpu.report import Record
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.program import Precision

#: Å after that: GPUs add messages up in any order, and what differs in the last digits grows.
SAME_PATH = 1e-4


def restarts(device: str, quick: bool) -> Iterator[Record]:
    """So many steps at once, at once again, and in two parts."""
    steps = 4 if quick else 20
    water, atoms = halocline.load(WATER), read(BOX)
    settings = Settings(ensemble="nvt", timestep=0.5, frame_interval=2)
    for dtype in [Precision.FLOAT64] if quick else list(Precision):
        with tempfile.TemporaryDirectory() as folder:
            ends = {}
            for name, stops in {
                "straight": (steps,),
                "again": (steps,),
                "in two parts": (steps // 2, steps),
            }.items():
                files = RunFiles(Path(folder, name))
                for number, stop in enumerate(stops):
                    calculator = water.calculator(dtype=dtype.value, device=device)
                    run_dynamics(atoms, calculator, settings, files, steps=stop, resume=number > 0)
                ends[name] = read(files.trajectory, index=-1).positions
        for name in ("again", "in two parts"):
            apart = float(np.abs(ends[name] - ends["straight"]).max())
            yield {"dtype": dtype.value, "run": name, "apart_A": apart, "ok": apart < SAME_PATH}
