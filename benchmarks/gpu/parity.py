"""Cells of the matrix on the device: the numbers of the eager definition in float64 on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import torch
from ase.io import read
from matrix.axes import DIVISIONS, QUIET, Cell, models, potential
from matrix.cell import ON_GPU, run
from matrix.deviation import deviation

import halocline
from gpu.report import Record
from halocline.plugin import registry
from halocline.program import Precision
from halocline.testing import check_executor
from halocline.testing.hosts import HOSTS

#: The model that ships, and a box for it.
WATER, BOX = "water-revpbe0d3-schnet", Path(__file__).parents[2] / "examples" / "water.extxyz"

#: What there is one program for.
ONE_PROGRAM = ("whole", "together")


def cells(
    backend: str,
    device: str,
    names: Iterable[str],
    divisions: Iterable[str],
    hosts: Iterable[str] = (QUIET,),
    dtypes: Iterable[str] = tuple(Precision),
) -> Iterator[Record]:
    """Run cells of one backend."""
    for model, dtype, division, host in product(names, dtypes, divisions, hosts):
        yield record(Cell(model, backend, str(dtype), division, host), device)


def record(cell: Cell, device: str) -> Record:
    """Run a cell, and tell what became of it."""
    outcome = run(cell, device)
    found = {**cell._asdict(), "seconds": round(outcome.seconds, 3)}
    if outcome.status == "skipped":
        return found | {"skipped": outcome.message}
    if outcome.deviation is not None:
        found |= outcome.deviation._asdict()
    return found | {"ok": outcome.status == "passed"} | ({"message": outcome.message} if outcome.message else {})


def eager(device: str, quick: bool) -> Iterator[Record]:
    """Every model as it is written, whole, in parts both ways and many at once; and the executor's contract."""
    names = models()[:2] if quick else models()
    yield from cells("torch", device, names, DIVISIONS)
    water, atoms = halocline.load(WATER), read(BOX)
    expected = water(atoms, dtype="float64", device="cpu")
    for dtype in Precision:
        compared = deviation(water(atoms, dtype=dtype.value, device=device), expected, dtype.value)
        yield {"model": WATER, "dtype": dtype.value, "ok": compared.ok} | compared._asdict()
    executor = registry().load("executor", "torch")
    for name in names:
        for result in check_executor(executor(device=device), potential(name).backbone).results:
            failed = {"message": result.message} if result.message else {}
            yield (
                {"model": name, "check": result.check, "status": result.status}
                | failed
                | {"ok": result.status != "failed"}
            )


def hosts(device: str, quick: bool) -> Iterator[Record]:
    """Whatever the host program has done."""
    on_gpu = tuple(ON_GPU) if torch.device(device).type == "cuda" else ()
    yield from cells(
        "torch", device, ("lennard-jones",) if quick else ("schnet",), ONE_PROGRAM[:1], (*HOSTS, *on_gpu)
    )


def one_rank(device: str, quick: bool) -> Iterator[Record]:
    """A rank of its own, which on a GPU opens NCCL: whole, and in parts both ways."""
    yield from cells(
        "ddp:ranks=1", device, ("schnet",) if quick else ("schnet", "m3gnet"), ("whole", "parts", "exchange")
    )


def inductor(device: str, quick: bool) -> Iterator[Record]:
    """Compiled in this process."""
    yield from _compiled("torch:compile=inductor", device, quick)


def aot(device: str, quick: bool) -> Iterator[Record]:
    """Compiled into packages."""
    yield from _compiled("torch:compile=aot", device, quick)


def _compiled(backend: str, device: str, quick: bool) -> Iterator[Record]:
    yield from cells(backend, device, ("lennard-jones",) if quick else models(), ONE_PROGRAM)


def onnx(device: str, quick: bool) -> Iterator[Record]:
    """ONNX Runtime on the device; without its package for GPUs it cannot be run there, and says so."""
    yield from cells("onnx", device, ("lennard-jones",) if quick else models(), ("whole", "parts"))
