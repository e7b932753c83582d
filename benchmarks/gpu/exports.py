"""Packages of AOTInductor, as they are exported, run by torch alone on the device."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from ase import Atoms
from matrix.axes import potential
from matrix.deviation import deviation, largest

from gpu.report import Record
from halocline.backends.torch.exporter import AotExporter
from halocline.program import Precision
from halocline.testing.structures import Samples

#: Where the documentation shows how the inputs of a package are made.
PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def exports(device: str, quick: bool) -> Iterator[Record]:
    """Each model and dtype: an exported package, fed as the documentation shows, beside the eager definition."""
    tables = _tables()
    for name in ("lennard-jones",) if quick else ("lennard-jones", "schnet"):
        model = potential(name)
        structures = Samples(model.backbone).all()
        for dtype in Precision:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.pt2")
                AotExporter(device).export(model, dtype, path)
                package = torch._inductor.aoti_load_package(str(path))
                found = {
                    each: _run(package, tables, atoms, model.cutoff, device) for each, atoms in structures.items()
                }
            expected = {each: model(atoms, dtype="float64", device="cpu") for each, atoms in structures.items()}
            apart = largest([deviation(found[each], expected[each], dtype.value) for each in structures])
            yield {"model": name, "dtype": dtype.value, "ok": apart.ok} | apart._asdict()


def _tables() -> Callable[..., tuple[Any, ...]]:
    """The function of the documentation, which needs nothing of Halocline."""
    shown = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    names: dict[str, Any] = {}
    exec(shown[1], names)
    return names["neighbour_table"]


def _run(package: Any, tables: Callable[..., tuple[Any, ...]], atoms: Atoms, cutoff: float, device: str) -> Any:
    """Energies, forces and virial of a structure."""
    cell, periodic = atoms.cell.array, atoms.pbc
    values = (atoms.positions, cell, atoms.numbers, *tables(atoms.positions, cell, periodic, cutoff))
    outputs = package(*(torch.as_tensor(value).to(device) for value in values))
    energies, _, forces, virial = (output.cpu().numpy() for output in outputs)
    return SimpleNamespace(energies=energies, forces=forces, virial=virial)
