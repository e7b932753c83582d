"""Where the time of a computation goes: named sections of it, each counted without those within it.

Sections are marked where the work is done, with `timed`. Nothing is measured until somebody looks, in this thread,
through `Shares.counted`; a mark then costs a few microseconds, and about one otherwise.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar, final

P = ParamSpec("P")
R = TypeVar("R")

#: Every section, and what is done in it, in the order of a step of dynamics. What is in none of them is `OTHER`.
SECTIONS: Final = {
    "integrator": "ASE's integrator, thermostat and random numbers",
    "calculator": "ASE's calculator, checks of the structure, reference energies",
    "following": "whether the model is still the one that was prepared",
    "evaluator": "what an evaluator does beside the rest; with ddp, waiting for the ranks",
    "list": "whether the neighbour list still holds",
    "search": "search of candidates, over all steps",
    "cut": "from candidates to edges and their vectors",
    "layout": "parts, and their tensors on the device",
    "network": "energies and their gradients by the vectors",
    "sums": "forces and virial from gradients",
    "result": "contacts, the range of the training, finite numbers",
    "guards": "temperature and pressure of the step, reasons to stop",
    "output": "log, trajectory, checkpoints",
}
OTHER: Final = "other"


@final
class Shares:
    """Seconds by section, while they are counted.

    Args:
        synchronize: waits for work that was handed to a device, so that it counts where it was handed over.

    Attributes:
        wall: wall-clock seconds of each section.
        cpu: CPU seconds of all threads of this process, likewise.
        calls: how often each was entered.
    """

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self.wall, self.cpu = dict.fromkeys((*SECTIONS, OTHER), 0.0), dict.fromkeys((*SECTIONS, OTHER), 0.0)
        self.calls = dict.fromkeys((*SECTIONS, OTHER), 0)
        self._synchronize = synchronize
        self._open = [OTHER]
        self._last = (0.0, 0.0)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what this thread does in the block."""
        token = _counting.set(self)
        self._synchronize()
        self._last = _now()
        try:
            yield
        finally:
            self._charge()
            _counting.reset(token)

    @property
    def innermost(self) -> str:
        """The section that is open now and has no other open within it."""
        return self._open[-1]

    def enter(self, name: str) -> None:
        """A section begins within the one that is open."""
        self._charge()
        self._open.append(name)
        self.calls[name] += 1

    def leave(self) -> None:
        """End the innermost open section, and add up its time."""
        self._charge()
        self._open.pop()

    def _charge(self) -> None:
        """Give the time since the last mark to the innermost section."""
        self._synchronize()
        now, name = _now(), self._open[-1]
        self.wall[name] += now[0] - self._last[0]
        self.cpu[name] += now[1] - self._last[1]
        self._last = now


_counting: ContextVar[Shares | None] = ContextVar("_counting", default=None)


def timed(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function as a section, or as a part of one.

    Args:
        name: of `SECTIONS`.
    """
    assert name in SECTIONS

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            shares = _counting.get()
            if shares is None:
                return function(*args, **kwargs)
            shares.enter(name)
            try:
                return function(*args, **kwargs)
            finally:
                shares.leave()

        return wrapped

    return mark


def count_methods(cls: type, section: str, names: Iterable[str]) -> None:
    """Mark those of a class's methods that it defines itself; inherited ones are marked already."""
    for name in names:
        if name in vars(cls):
            setattr(cls, name, timed(section)(vars(cls)[name]))


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
