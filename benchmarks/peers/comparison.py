"""One comparison: everybody who runs a model takes steps along the same motion, in turns."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np

from peers import structures
from peers.contender import Contender
from peers.models import Files, MissingError, digest
from peers.record import KEY, Key
from peers.runner import FAR, Results, Runner
from peers.worker import Worker

#: Steps before the clock counts; programs compile in the first.
WARM_UP: Final = 2

#: Structures with more atoms have no reference in float64, which keeps some MB for each of them.
REFERENCE_ATOMS: Final = 512

#: Of the largest force, and eV an atom: contenders that are farther off evaluate another model.
FORCES, ENERGY = 1e-3, 1e-4


@final
class Group(NamedTuple):
    """Comparisons that share processes.

    Attributes:
        model: in `MODELS`.
        structure: in `STRUCTURES`.
        threads: that everybody may use.
        sizes: atoms, as they were asked for, in increasing order.
        device: ``cpu`` or ``cuda``.
    """

    model: str
    structure: str
    threads: int
    sizes: tuple[int, ...]
    device: str = "cpu"

    def key(self, size: int) -> Key:
        """Of the comparison of one size in a record."""
        return self.model, self.structure, size, self.threads, self.device


@final
@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: steps of each contender that are timed.
        fewest: of them, however long they take.
        seconds: after which no further round begins.
        patience: seconds that the fewest steps of one contender may be expected to take.
    """

    rounds: int = 9
    fewest: int = 3
    seconds: float = 120.0
    patience: float = 600.0


def compare(
    group: Group, contenders: Sequence[Contender], reference: Contender, files: Files, effort: Effort
) -> Iterator[dict[str, Any]]:
    """Measure a group.

    Yields:
        A record for each size.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        runners = _loaded(group, contenders, files, stack)
        for size in group.sizes:
            atoms = structures.structure(group.structure, size)
            path = Path(folder, "structure.npz")
            moved = structures.write(atoms, path)
            before = os.getloadavg()[0]
            for runner in runners:
                runner.begin(path, len(atoms), WARM_UP + effort.fewest, effort.patience)
            _judge(runners, _reference(group, reference, files, path, len(atoms)), len(atoms), folder)
            _measure(runners, effort, moved)
            for runner in runners:
                runner.finish(folder, len(atoms), moved)
            cutoffs = [runner.found["cutoff"] for runner in runners if "cutoff" in runner.found]
            yield dict(zip(KEY, group.key(size), strict=True)) | {
                "atoms": len(atoms),
                "neighbours": structures.neighbours(atoms, cutoffs[0]) if cutoffs else None,
                "load": [before, os.getloadavg()[0]],
                "contenders": {runner.contender.name: runner.found for runner in runners},
            }


def _loaded(group: Group, contenders: Sequence[Contender], files: Files, stack: ExitStack) -> list[Runner]:
    """Start all who have a file of the model at once, and wait until they have loaded it."""
    elements, started, runners = structures.elements(group.structure), [], []
    for contender in contenders:
        runners.append(Runner(contender))
        try:
            path = files.path(group.model, elements, contender.who)
        except MissingError as error:
            runners[-1].leave_out(str(error))
            continue
        worker = stack.enter_context(Worker(contender, path, group.threads, group.device))
        started.append((runners[-1], worker, digest(path)))
    for runner, worker, found in started:
        runner.load(worker, found)
    return runners


def _reference(group: Group, contender: Contender, files: Files, path: Path, atoms: int) -> Results | None:
    """What is right for the first step; None where there is no reference."""
    if atoms > REFERENCE_ATOMS or group.threads > 1:
        return None
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        (runner,) = _loaded(group, [contender], files, stack)
        runner.begin(path, atoms, 1, math.inf)
        return runner.results(folder)


def _judge(runners: Sequence[Runner], right: Results | None, atoms: int, folder: str) -> None:
    """Note errors of everybody's first step; who evaluates something else does not go on.

    Args:
        runners: after their first step.
        right: of the reference; without one, the first who has results takes its place.
        atoms: of the structure.
        folder: for results.
    """
    against = "float64"
    for runner in runners:
        found = runner.results(folder)
        if found is None:
            continue
        if right is None:
            right, against = found, runner.contender.name
        errors = errors_of(found, right, atoms)
        runner.found["errors"] = {"against": against} | errors
        if not (errors["forces_largest"] <= FORCES and errors["energy_per_atom"] <= ENERGY):
            runner.fail(f"It evaluates another model than {against}: {errors}.")


def errors_of(found: Results, right: Results, atoms: int) -> dict[str, float]:
    """How far results are off.

    Returns:
        ``energy_per_atom`` in eV; ``forces_largest`` relative to the largest component; ``forces_rms`` relative
        to their root mean square; ``stress`` in eV/Å³.
    """
    off = found["forces"] - right["forces"]
    return {
        "energy_per_atom": float(abs(found["energy"] - right["energy"])) / atoms,
        "forces_largest": float(np.abs(off).max() / np.abs(right["forces"]).max()),
        "forces_rms": float(np.linalg.norm(off) / np.linalg.norm(right["forces"])),
        "stress": float(np.abs(found["stress"] - right["stress"]).max()),
    }


def _measure(runners: Sequence[Runner], effort: Effort, moved: float) -> None:
    """Take steps in turns, then such as search neighbours."""
    for number in range(1, WARM_UP):
        for runner in runners:
            runner.step(number, timed=False)
    started = time.perf_counter()
    for number in range(WARM_UP, WARM_UP + effort.rounds):
        if number >= WARM_UP + effort.fewest and time.perf_counter() - started > effort.seconds:
            break
        for runner in runners:
            runner.step(number)
    for runner in runners:
        runner.search(WARM_UP + effort.rounds + math.ceil(FAR / moved))
