"""How long work on a device takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

#: Repetitions whose median counts, after some that do not; none begins after so many seconds.
WARM_UP, REPEATS, SECONDS = 3, 20, 2.0


def seconds_of(work: Callable[[], object], device: str) -> float:
    """The median of wall-clock seconds from the call until the device has nothing left to do."""
    for _ in range(WARM_UP):
        work()
    wait(device)
    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < SECONDS:
        started = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
