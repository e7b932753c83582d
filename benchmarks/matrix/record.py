"""The file of a matrix: what was measured, on what, and every cell, written anew after each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final, final

import torch

from halocline.doctor.machine import describe_machine
from halocline.files import write_atomically
from halocline.plugin.source import source_digest
from matrix.axes import Cell
from matrix.cell import Outcome
from matrix.deviation import Deviation

COLUMNS: Final = (*Cell._fields, "status", "seconds", *Deviation._fields, "message")

#: Packages whose versions may change a number.
PACKAGES: Final = ("torch", "numpy", "scipy", "ase", "onnx", "onnxruntime", "onnxruntime-gpu", "pymetis")


def measured_on(device: str, *packages: str) -> dict[str, Any]:
    """Machine, versions, and digests of the sources of packages: enough to tell two measurements apart."""
    machine = describe_machine() | {"device": device}
    del machine["system"]  # of which only the kernel differs between machines that compute alike
    found: dict[str, Any] = {
        "machine": machine,
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "sources": {name: source_digest(name) for name in ("halocline", "matrix", *packages)},
    }
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        found["machine"] |= {"gpu": properties.name, "gpu_memory": properties.total_memory}
        found["versions"]["cuda"] = torch.version.cuda
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


@final
class Record:
    """Cells that are done.

    Args:
        path: of the file. What it holds of other sources, versions or another machine is left aside, and replaced.
        measured: from `measured_on`.
    """

    def __init__(self, path: Path, measured: Mapping[str, Any]) -> None:
        self._path, self._head = path, {"measured": dict(measured), "columns": list(COLUMNS)}
        self.cells: dict[Cell, Outcome] = {}
        if path.exists():
            old = json.loads(path.read_text())
            if {name: old.get(name) for name in self._head} == self._head:
                self.cells = dict(map(_read, old["cells"]))

    def add(self, cell: Cell, outcome: Outcome) -> None:
        """Enter a cell, and write the file."""
        self.cells[cell] = outcome
        rows = ",\n".join(json.dumps(_row(*each), ensure_ascii=False) for each in self.cells.items())
        head = json.dumps(self._head, indent=1)
        write_atomically(self._path, f'{head[:-2]},\n "cells": [\n{rows}\n]}}\n'.encode())


def _row(cell: Cell, outcome: Outcome) -> list[Any]:
    numbers = outcome.deviation or [None] * len(Deviation._fields)
    shown = [None if number is None else float(f"{number:.3g}") for number in numbers]
    return [*cell, outcome.status, round(outcome.seconds, 3), *shown, outcome.message]


def _read(row: list[Any]) -> tuple[Cell, Outcome]:
    cell, (status, seconds, *numbers, message) = Cell(*row[: len(Cell._fields)]), row[len(Cell._fields) :]
    return cell, Outcome(status, seconds, None if numbers[0] is None else Deviation(*numbers), message)
