"""What every contender does: moves atoms when it is told to, and answers with what the step took.

Its argument is a JSON object: file of the model, number of threads, device, options of the contender, and the
number of a descriptor. Requests come from standard input and answers go to that descriptor, one JSON object a
line; libraries may print what they like. Runs in interpreters of peers, so it imports NumPy and ASE and nothing
of Halocline.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

PROPERTIES = ["energy", "forces", "stress"]

#: A calculator, and what it says of itself once it has run: versions, cutoff, skin, fallbacks.
Made = tuple[Calculator, Callable[[], dict[str, Any]]]


def serve(make: Callable[[dict[str, Any]], Made], packages: list[str]) -> None:
    """Answer until the input ends.

    Args:
        make: takes the argument of the script.
        packages: whose versions are to be told.
    """
    asked = json.loads(sys.argv[1])
    with os.fdopen(asked["answers"], "w") as answers:

        def answer(**fields: Any) -> None:
            print(json.dumps(fields), file=answers, flush=True)

        started = time.perf_counter()
        calculator, tell = make(asked)
        loading = time.perf_counter() - started
        versions = {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}
        steps = Steps(calculator)
        answer(resident=resident(), loading=loading)
        for line in sys.stdin:
            question = json.loads(line)
            if "structure" in question:
                steps.take(Path(question["structure"]))
                answer(resident=resident())
            elif "step" in question:
                answer(**steps.step(question["step"]))
            else:
                steps.save(Path(question["save"]))
                answer(peak=peak(), versions=versions, **tell())


class Steps:
    """A structure in free flight, as its file says, and a calculator that follows it."""

    def __init__(self, calculator: Calculator) -> None:
        self._calculator = calculator

    def take(self, path: Path) -> None:
        """Begin with another structure; the peak of memory begins anew."""
        with np.load(path) as file:
            self._start, self._moved = file["positions"], file["moved"]
            self._atoms = Atoms(file["numbers"], self._start, cell=file["cell"], pbc=True)
        reset_peak()

    def step(self, number: int) -> dict[str, float]:
        """Move atoms to where they are after so many steps; seconds until results are there, and the energy."""
        self._atoms.positions[:] = self._start + number * self._moved
        cpu, wall = time.process_time(), time.perf_counter()
        self._calculator.calculate(self._atoms, PROPERTIES, ["positions"])
        taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        return taken | {"energy": float(self._calculator.results["energy"])}

    def save(self, path: Path) -> None:
        """Write the results of the last step; stress (3, 3) in eV/Å³."""
        found = self._calculator.results
        stress = np.asarray(found["stress"])
        if stress.shape == (6,):
            stress = stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
        np.savez(path, energy=float(found["energy"]), forces=np.asarray(found["forces"]), stress=stress)


def resident() -> int:
    """Bytes that this process holds."""
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that this process has held since the peak began anew, or since it started."""
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        return int(sys.modules["torch"].cuda.max_memory_allocated())
    return _status("VmHWM")


def reset_peak() -> None:
    """Begin anew, where Linux lets a process do that."""
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        sys.modules["torch"].cuda.reset_peak_memory_stats()
    control = Path("/proc/self/clear_refs")
    if control.exists():
        control.write_text("5")


def _status(name: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(name + ":"))
    return 1024 * int(line.split()[1])
