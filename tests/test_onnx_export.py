"""An exported file gives the potential's results with onnxruntime and NumPy alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

pytest.importorskip("onnxruntime", reason="the ONNX backend needs onnxruntime")
import onnxruntime
from onnx_programs import backbone
from structures import random_structure

from halocline.backends.onnx.exporter import OnnxExporter
from halocline.backends.onnx.model_file import open_model
from halocline.potential.potential import Potential
from halocline.program import Precision

#: Of the largest value: the same program, compiled by others.
AGREEMENT = {Precision.FLOAT64: 1e-10, Precision.FLOAT32: 1e-5}

PAGE = Path(__file__).parents[1] / "docs" / "export.md"

#: Runs a model with the documentation's table of neighbours, where neither Halocline nor torch can be imported.
SCRIPT = """
import importlib.abc, json, os, sys

class Forbid(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("halocline", "torch", "ase"):
            raise ImportError(f"{name} is forbidden here")

sys.meta_path.insert(0, Forbid())
import numpy as np
import onnxruntime

os.chdir(sys.argv[1])
exec(open("neighbour_table.py").read())
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
manifest = json.loads(session.get_modelmeta().custom_metadata_map["halocline.manifest"])
results = []
for structure in json.load(open("structures.json")):
    positions, cell = np.array(structure["positions"]), np.array(structure["cell"])
    table = neighbour_table(positions, cell, structure["periodic"], manifest["neighbours"]["cutoff"])
    values = (positions, cell, np.array(structure["species"]), *table)
    outputs = session.run(None, dict(zip([value["name"] for value in manifest["inputs"]], values)))
    results.append({value["name"]: output.tolist() for value, output in zip(manifest["outputs"], outputs)})
json.dump(results, open("results.json", "w"))
"""


def neighbour_table_of_the_page():
    """The function that the documentation offers."""
    (code,) = re.findall(
        r"```python\n(import numpy[^`]*def neighbour_table.*?)```", PAGE.read_text("utf-8"), re.DOTALL
    )
    return code


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A potential, the file it was written to in the place of another one, and its manifest."""
    potential = Potential(backbone("lennard-jones"), {"Ar": -1.25, "Kr": -4.5}, {})
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    path.write_bytes(b"an older file")
    return potential, path, OnnxExporter().export(potential, Precision.FLOAT64, path)


def structures():
    return [
        Atoms("OH2", positions=[(0, 0, 0.12), (0, 0.76, -0.47), (0, -0.76, -0.47)]),
        random_structure(3, atoms=14, pbc=(True, True, False)),
        random_structure(7, atoms=3, pbc=True, edge=(2.5, 3.0)),
        Atoms("H", positions=[(1.0, 2.0, 3.0)]),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("precision", Precision)
def test_without_halocline_and_torch(precision, tmp_path):
    potential = Potential(backbone("schnet"), {"H": -1.25, "O": -4.5}, {})
    manifest = OnnxExporter().export(potential, precision, tmp_path / "model.onnx")
    assert manifest.kind == "structure"
    tables = [
        {
            "species": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "periodic": atoms.pbc.tolist(),
        }
        for atoms in structures()
    ]
    (tmp_path / "structures.json").write_text(json.dumps(tables))
    (tmp_path / "neighbour_table.py").write_text(neighbour_table_of_the_page())
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True, capture_output=True)
    results = json.loads((tmp_path / "results.json").read_text())
    for atoms, result in zip(structures(), results, strict=True):
        expected = potential(atoms, dtype="float64")
        for name, value in (
            ("energies", expected.energies),
            ("energy", expected.energy),
            ("forces", expected.forces),
            ("virial", expected.virial),
        ):
            scale = max(1.0, np.abs(value).max())
            np.testing.assert_allclose(result[name], value, rtol=0.0, atol=AGREEMENT[precision] * scale)


def test_the_file_is_a_model_with_its_manifest(exported):
    potential, path, manifest = exported
    opened = open_model(path)
    assert opened.manifest == manifest
    assert manifest.neighbours == {"rule": "radius", "cutoff": 8.5}
    assert manifest.reference_energies == potential.reference_energies
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    operators = {node.op_type for node in opened.model.graph.node}
    assert not any("Scatter" in operator for operator in operators)
    sizes = {d.dim_param for value in opened.model.graph.input for d in value.type.tensor_type.shape.dim}
    assert sizes == {"N", "k", "t", ""}


def test_elements_that_the_model_does_not_know_have_no_energy(exported):
    _, path, _ = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {
        "positions": np.zeros((1, 3)),
        "cell": np.zeros((3, 3)),
        "species": np.array([8]),
        "neighbours": np.zeros((1, 1), np.int64),
        "shifts": np.zeros((1, 1, 3)),
        "mask": np.zeros((1, 1)),
        "transposed": np.zeros((1, 1), np.int64),
    }
    energies, energy = session.run(["energies", "energy"], inputs)
    assert np.isnan(energies).all()
    assert np.isnan(energy)
