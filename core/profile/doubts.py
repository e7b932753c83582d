"""What makes the numbers of a profile doubtful, in sentences."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Final, final

import torch

from halocline.profile.rows import PROGRAM, STRUCTURE, Row, short, spread

#: Rows may add up to so much more or less than an evaluation takes while nothing watches it.
TOLERANCE: Final = 0.1

#: A spread of the evaluations from here on is worth a sentence, and so is one that takes so many times the median.
WIDE, SLOW = 0.25, 3.0

#: An evaluation on a CPU of its own computes all the time.
BUSY: Final = 0.9


def of_dtypes(rows: Sequence[Row], asked: torch.dtype) -> Iterator[str]:
    """Stages that compute in something else than what was asked for, or in more than that."""
    stages: dict[str, Counter[torch.dtype]] = {}
    for row in rows:
        stages.setdefault(row.place.stage, Counter()).update(row.dtypes)
    for stage, dtypes in stages.items():
        total = dtypes.total()
        for dtype in dtypes:
            if dtype != asked:
                yield (
                    f"{stage} computes {100 * dtypes[dtype] / total:.0f} % of its elements in {short(dtype)}, "
                    f"though {short(asked)} was asked for."
                )


def of_times(seconds: Sequence[float], cpu: Sequence[float], total: float) -> Iterator[str]:
    """Times that differ too much from each other, from what was computed in them, or from what rows add up to."""
    had = median(cpu) / median(seconds)
    if had < BUSY:
        yield (
            f"Evaluations had a processor for only {100 * had:.0f} % of their time: the machine is busy with "
            "other work, or they wait for a device or for other processes."
        )
    if spread(seconds) > WIDE:
        yield (
            f"The middle half of the evaluations spreads over {100 * spread(seconds):.0f} % of their median: the "
            "machine is busy, or there are too few repeats."
        )
    slowest = max(seconds) / median(seconds)
    if slowest > SLOW:
        yield (
            f"One evaluation took {slowest:.1f} times the median: something was started, or disturbed it; medians "
            "do not see it."
        )
    if abs(total - 1.0) > TOLERANCE:
        yield (
            f"Rows add up to {100 * total:.0f} % of what an evaluation takes while nothing watches it, more than "
            f"{100 * TOLERANCE:.0f} % off."
        )


def of_sight(rows: Sequence[Row], device: str) -> Iterator[str]:
    """What could not be seen, or not be counted."""
    if all(row.place.stage in (STRUCTURE, PROGRAM) for row in rows):
        yield (
            "The program is compiled and runs outside of torch's dispatcher: its operators and their dtypes "
            "cannot be seen, and it is shown as a whole. The backend torch shows them all."
        )
    names = sorted({name for row in rows for name in row.uncounted})
    if names:
        yield f"No convention says how many floating-point operations these have: {', '.join(names)}."
    if torch.device(device).type == "cuda":
        yield "Each operator was waited for: times contain its launch, which else overlaps with the one before."


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collect what is compiled in the block, as sentences; complete when the block has ended."""
    found: list[str] = []
    before, logger, handler = _graphs(), logging.getLogger("halocline.durations"), _Collector(found)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        if _graphs() > before:
            found.append(f"torch.compile compiled {_graphs() - before} graphs.")


def _graphs() -> int:
    """How many graphs torch.compile has compiled in this process; it is not imported for that."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return 0 if dynamo is None else int(dynamo.counters["stats"].get("unique_graphs", 0))


@final
class _Collector(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self._found.append(record.getMessage())
