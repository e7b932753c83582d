"""Where the time of a step of dynamics goes, measured on a run that is like any other."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch
from ase import Atoms

from halocline.dynamics import RunFiles, Settings, StepRecord, run_dynamics
from halocline.potential.calculator import HaloclineCalculator
from halocline.shares import Shares

#: Steps before the count begins; the first of them may compile.
WARM_UP: Final = 3


@final
@dataclass(frozen=True, slots=True)
class StepShares:
    """What the steps of a run took, and which part of it each section.

    Attributes:
        steps: that were counted.
        wall: seconds that they took on the clock, measured apart from the sections.
        cpu: CPU seconds of all threads of this process, likewise.
        shares: the same seconds by section; what belongs to none is ``other``, so that they add up.
    """

    steps: int
    wall: float
    cpu: float
    shares: Shares

    @property
    def searches(self) -> int:
        """How often neighbours were searched anew."""
        return self.shares.calls["search"]

    def by_section(self, atoms: int) -> dict[str, dict[str, float]]:
        """Section → ms and CPU ms per step, µs per atom and step, and its part of the wall-clock time."""
        total = sum(self.shares.wall.values())
        return {
            name: self._row(seconds, self.shares.cpu[name], atoms) | {"share": seconds / total}
            for name, seconds in self.shares.wall.items()
        }

    def of_step(self, atoms: int) -> dict[str, float]:
        """Ms and CPU ms per step, and µs per atom and step, of whole steps by a clock of their own."""
        return self._row(self.wall, self.cpu, atoms)

    def _row(self, wall: float, cpu: float, atoms: int) -> dict[str, float]:
        return {
            "ms": 1e3 * wall / self.steps,
            "cpu_ms": 1e3 * cpu / self.steps,
            "us_per_atom": 1e6 * wall / self.steps / atoms,
        }


def step_shares(atoms: Atoms, calculator: HaloclineCalculator, settings: Settings, steps: int) -> StepShares:
    """Run dynamics as ``halocline md`` does, files included, and count the steps after `WARM_UP` others.

    Numbers are those of any other run. The files go into a folder that is removed again. Where CUDA is used, each
    section waits for the device at both ends.

    Args:
        atoms: the start.
        calculator: of the model.
        settings: of the run.
        steps: to count; with few of them, the search for neighbours is hardly among them.

    Raises:
        HaloclineError: as for `run_dynamics`.
    """
    shares = Shares(_wait_for_device)
    clock: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as counting:

        def on_step(sample: StepRecord) -> None:
            """Sections are counted from the end of the last step of the warm-up to that of the last step."""
            if sample.step == WARM_UP:
                clock.update(wall=-time.perf_counter(), cpu=-time.process_time())
                counting.enter_context(shares.counted())
            elif sample.step == WARM_UP + steps:
                counting.close()
                clock["wall"] += time.perf_counter()
                clock["cpu"] += time.process_time()

        # One step more: the checkpoint at the end belongs to the run, not to its steps.
        output, last = RunFiles(Path(folder) / "md"), WARM_UP + steps + 1
        run_dynamics(atoms, calculator, settings, output, steps=last, on_step=on_step)
    return StepShares(steps, clock["wall"], clock["cpu"], shares)


def _wait_for_device() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
