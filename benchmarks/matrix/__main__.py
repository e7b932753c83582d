"""Run the whole matrix, or go on where it stopped.

    python -m matrix --output FILE [--device cpu] [--models ...] [--backends ...]

Every cell is in the file as soon as it is done. Cells of one model, backend and dtype share a process, so that a
program is compiled once for them; one that crashes or does not end takes its cell with it and no other.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import torch

from halocline import isolation
from matrix.axes import BACKENDS, Cell, models, product_of
from matrix.cell import Outcome, run
from matrix.record import Record, measured_on

#: Seconds for the cells of one model, backend and dtype that are not done yet: M3GNet compiles for minutes.
LIMIT: Final = 1800.0


def main(given: Sequence[str] | None = None) -> int:
    """Run what is not done; the exit status tells whether all cells passed or were skipped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the JSON file; what it has already is kept")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="+", choices=models(), default=models())
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    arguments = parser.parse_args(given)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    measured = measured_on(arguments.device)
    cells = list(product_of(arguments.models, arguments.backends))
    for _, group in groupby(cells, key=lambda cell: cell[:3]):
        _complete(arguments.output, measured, list(group), arguments.device)
    record = Record(arguments.output, measured)
    print(table(record))
    return int(any(outcome.status == "failed" for outcome in record.cells.values()))


def _complete(path: Path, measured: dict[str, Any], group: Sequence[Cell], device: str) -> None:
    """Run the cells of a group that are not done, in as few processes as they survive."""
    while True:
        record = Record(path, measured)
        left = [cell for cell in group if cell not in record.cells]
        if not left:
            return
        print(f"{' · '.join(left[0][:3])}: {len(left)} cells", file=sys.stderr, flush=True)
        ended = isolation.call("matrix.__main__:run_cells", [str(path), measured, left, device], LIMIT)
        record = Record(path, measured)
        missing = [cell for cell in left if cell not in record.cells]
        if missing:
            record.add(missing[0], Outcome("failed", message=ended.failure))


def run_cells(argument: list[Any]) -> Iterator[None]:
    """Run cells in this process, and enter each into the file."""
    path, measured, cells, device = argument
    torch.set_num_threads(1)  # on structures this small a second one mostly waits
    record = Record(Path(path), measured)
    for cell in (Cell(*each) for each in cells):
        record.add(cell, run(cell, device))
        yield None


def table(record: Record) -> str:
    """For each model and backend: how many cells passed, failed and were skipped, and the largest deviation."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    shares: dict[tuple[str, str], float] = defaultdict(float)
    for cell, outcome in record.cells.items():
        counts[cell[:2]][outcome.status] += 1
        if outcome.deviation is not None:
            shares[cell[:2]] = max(shares[cell[:2]], outcome.deviation.of_tolerance)
    lines = [f"{'model':28} {'backend':36} passed failed skipped  of tolerance"]
    for (model, backend), count in counts.items():
        numbers = " ".join(f"{count[status]:6}" for status in ("passed", "failed", "skipped"))
        lines.append(f"{model:28} {backend:36} {numbers}  {shares[model, backend]:12.2%}")
    reasons = Counter(each.message for each in record.cells.values() if each.status == "skipped")
    lines += [f"skipped {count} times: {reason}" for reason, count in reasons.items()]
    failed = [(cell, each.message) for cell, each in record.cells.items() if each.status == "failed"]
    return "\n".join(lines + [f"FAILED {' · '.join(cell)}: {message}" for cell, message in failed])


if __name__ == "__main__":
    sys.exit(main())
