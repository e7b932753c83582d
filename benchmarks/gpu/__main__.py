"""Check every backbone, dtype and backend on one GPU, then time it; all into one JSON file.

    bash benchmarks/gpu.sh --output FILE [--device cuda] [--stages eager ...] [--limit 480] [--quick]

Structures and weights are made here, from seeds; the water model is the one that ships. The eager definition in
float64 on the CPU is the reference, which the tests hold against NumPy. Each stage has a process and a time of its
own, so that one that fails, hangs or crashes takes no other along, and the file is whole after each. `--device cpu
--quick` runs the same on a machine without a GPU, with fewer and smaller cases.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from matrix.record import measured_on

from gpu.report import Report, Stage
from halocline import isolation
from halocline.errors import HaloclineError

#: Where each stage is, and the seconds that it may take on a GPU. What matters most comes first; together they may
#: take more than the limit, which hardly any of them needs in full.
STAGES: Final = {
    "eager": ("gpu.parity:eager", 60),
    "hosts": ("gpu.parity:hosts", 40),
    "kernels": ("gpu.kernels:kernels", 120),
    "captured": ("gpu.captured:captured", 60),
    "nccl": ("gpu.parity:one_rank", 60),
    "batches": ("gpu.batches:batches", 60),
    "batch-sizes": ("gpu.batches:sizes", 60),
    "memory": ("gpu.memory:memory", 40),
    "restarts": ("gpu.restarts:restarts", 40),
    "steps": ("gpu.steps:steps", 120),
    "onnx": ("gpu.parity:onnx", 60),
    "inductor": ("gpu.parity:inductor", 100),
    "exports": ("gpu.exports:exports", 100),
    "aot": ("gpu.parity:aot", 150),
}

#: As many times longer where a busy CPU stands in for a GPU.
PATIENCE: Final = 10


def main(given: Sequence[str] | None = None) -> int:
    """Run the stages; the exit status tells whether all checks held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the JSON file")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=tuple(STAGES))
    parser.add_argument("--limit", type=float, default=480.0, help="seconds after which nothing runs any more")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases")
    arguments = parser.parse_args(given)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + arguments.limit
    report = Report(arguments.output, measured_on(arguments.device, "gpu") | {"quick": arguments.quick})
    for name in arguments.stages:
        target, seconds = STAGES[name]
        seconds *= 1 if arguments.device.startswith("cuda") else PATIENCE
        _run(report, name, target, min(seconds, until - time.monotonic()), arguments)
    return 0 if report.good else 1


def _run(report: Report, name: str, target: str, seconds: float, arguments: argparse.Namespace) -> None:
    """Run a stage in a process of its own, enter what it found, and say it."""
    if seconds <= 0:
        report.enter(name, Stage([], [], "The time was over before it began.", 0.0))
    else:
        started = time.monotonic()
        ended = isolation.call("gpu.__main__:records", [target, arguments.device, arguments.quick], seconds)
        records = [value["record"] for value in ended.values if "record" in value]
        warned = [value["warning"] for value in ended.values if "warning" in value]
        failure = next((value["failure"] for value in ended.values if "failure" in value), ended.failure)
        report.enter(name, Stage(records, warned, failure, round(time.monotonic() - started, 1)))
    print(report.stages[name].summary(name), flush=True)


def records(argument: list[Any]) -> Iterator[dict[str, Any]]:
    """What a stage finds, record by record; then why it ended early, if it did, and what it was warned of."""
    target, device, quick = argument
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            module, _, name = target.partition(":")
            for record in getattr(import_module(module), name)(device, quick):
                yield {"record": record}
        except (HaloclineError, RuntimeError, AssertionError, ImportError) as error:
            yield {"failure": f"{type(error).__name__}: {error}"}
    yield from ({"warning": text} for text in sorted({str(each.message) for each in caught}))


if __name__ == "__main__":
    sys.exit(main())
