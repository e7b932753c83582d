"""A contender through the sizes of one group: it loads a model once, and whatever befalls it is noted."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.doctor.machine import free_memory
from peers.contender import Contender
from peers.worker import ContenderError, Worker

#: A contender that would need more than this part of the memory that is free is left out.
SHARE_OF_MEMORY: Final = 0.8

#: Å: how far the fastest atom goes between two steps that are to search neighbours: beyond half of any skin.
FAR: Final = 0.4

Results = dict[str, NDArray[np.float64]]


@final
class Runner:
    """One contender and what was found of it.

    Attributes:
        contender: who.
        found: on the structure that it has now; ``failure`` says why there is no more, ``left_out`` why there was
            no attempt.
    """

    def __init__(self, contender: Contender) -> None:
        self.contender, self.found = contender, dict[str, Any]()
        self._worker: Worker | None = None
        self._why_not = self._digest = ""
        self._seen: tuple[int, int, float] | None = None  # atoms, bytes and seconds a step of the size before
        self._steps = list[dict[str, float]]()
        self._searches = list[dict[str, float]]()

    @property
    def runs(self) -> bool:
        """Whether it takes steps of the structure that it has now."""
        return not {"failure", "left_out"} & set(self.found)

    def load(self, worker: Worker, digest: str) -> None:
        """Wait until a worker has loaded its model, whose digest is given."""
        self._worker, self._digest = worker, digest
        try:
            worker.wait()
        except ContenderError as error:
            self._why_not = str(error)

    def leave_out(self, why: str) -> None:
        """It cannot run any size of the group."""
        self._why_not = why

    def begin(self, path: Path, atoms: int, steps: int, patience: float) -> None:
        """Take a structure, and the first step.

        Args:
            path: of the structure.
            atoms: that it has.
            steps: that it will be asked for at least.
            patience: seconds that these may take.
        """
        self.found, self._steps, self._searches = {"digest": self._digest}, [], []
        if self._why_not:
            self.found["failure"] = self._why_not
        elif reason := self._too_much(atoms, steps, patience):
            self.found["left_out"] = reason
        elif self._ask(structure=str(path)):
            first = self._ask(step=0)
            self.found["first_step"] = first.get("wall")

    def _too_much(self, atoms: int, steps: int, patience: float) -> str:
        """Why a structure is too large, by the one before it; empty if it is not, or was not told."""
        if self._seen is None:
            return ""
        before, memory, seconds = self._seen
        needed, taken = (each * atoms / before for each in (memory, seconds))
        if needed > SHARE_OF_MEMORY * free_memory():
            return f"It would need about {needed / 2**30:.0f} GiB."
        return f"Its steps would take about {steps * taken:.0f} s." if steps * taken > patience else ""

    def step(self, number: int, *, timed: bool = True) -> None:
        """Take a step of the motion."""
        taken = self._ask(step=number) if self.runs else {}
        if taken and timed:
            self._steps.append(taken)

    def search(self, far: int) -> None:
        """Take steps so far from each other that neighbours have to be searched."""
        if self.runs and self.found["skin"] > 0.0:
            self._searches += filter(None, (self._ask(step=number) for number in (far, 0)))

    def results(self, folder: str) -> Results | None:
        """Of the last step; None where there are none."""
        path = Path(folder, "results.npz")
        if not self.runs or not (told := self._ask(save=str(path))):
            return None
        self.found |= told
        with np.load(path) as file:
            return {name: file[name] for name in file.files}

    def finish(self, folder: str, atoms: int, moved: float) -> None:
        """Ask for what there is to say at the end, and put numbers together.

        Args:
            folder: for the results, which nobody needs.
            atoms: of the structure.
            moved: Å, by which its fastest atom moves in a step.
        """
        if self.results(folder) is None or not self._steps or self._worker is None:
            return
        memory = max(self.found["peak"] - self._worker.resident, 0)
        self.found |= {"resident_when_loaded": self._worker.resident, "loading": self._worker.loading}
        for clock in ("cpu", "wall"):
            taken = [step[clock] for step in self._steps]
            searched = [step[clock] for step in self._searches]
            search = max(median(searched) - median(taken), 0.0) if searched else 0.0
            often = moved / (self.found["skin"] / 2) if searched else 0.0
            self.found[clock] = {
                "steps": taken,
                "steps_that_search": searched,
                "us_per_atom": 1e6 * (median(taken) + search * often) / atoms,
                "of_it_search": 1e6 * search * often / atoms,
                "variation": stdev(taken) / fmean(taken) if len(taken) > 1 else None,
            }
        self._seen = atoms, memory, median(step["wall"] for step in self._steps)

    def fail(self, why: str) -> None:
        """Note that it is not to go on with this structure."""
        self.found["failure"] = why

    def _ask(self, **question: Any) -> dict[str, Any]:
        """An answer; empty after a failure, which is noted."""
        assert self._worker is not None
        try:
            return self._worker.ask(**question)
        except ContenderError as error:
            self.found["failure"] = self._why_not = str(error)
            return {}
