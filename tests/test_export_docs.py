"""The neighbour table that docs/export.md shows is the one that exported models want."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from halocline.aggregation import Form
from halocline.lowering import lower_structure
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.testing.structures import Samples

DOCS = Path(__file__).parents[1] / "docs" / "export.md"
REFERENCE = {"H": -13.6, "O": -432.1}

#: Float64 throughout; only the order of sums differs.
TOLERANCE = 1e-11


@pytest.fixture(scope="module")
def neighbour_table():
    (code,) = (block for block in re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
               if "def neighbour_table" in block)  # fmt: skip
    names = {}
    exec(code, names)
    return names["neighbour_table"]


@pytest.fixture(scope="module")
def potential():
    config = registry().load("backbone", "schnet").example_config() | {"species": list(REFERENCE)}
    return Potential(build_backbone("schnet", config), REFERENCE, {"name": "for tests"})


@pytest.fixture(scope="module")
def lowered(potential):
    frozen = FrozenModel.freeze(potential.backbone, Precision.FLOAT64, Capabilities.reference(Form.TABLE))
    return lower_structure(frozen, potential.reference_energies)


@pytest.mark.parametrize("name", ["molecule", "crystal", "slab", "liquid", "atom"])
def test_exported_program_with_this_table_gives_what_the_potential_gives(
    neighbour_table, potential, lowered, name
):
    atoms = getattr(Samples(potential.backbone), name)
    atoms.positions += 3 * atoms.cell.array.sum(0) * (np.arange(len(atoms)) % 2)[:, None]  # outside of the cell
    table = neighbour_table(atoms.positions, atoms.cell.array, atoms.pbc, potential.cutoff)
    values = (atoms.positions, atoms.cell.array, atoms.numbers, *table)
    tensors = [torch.from_numpy(np.asarray(value)) for value in values]
    energies, energy, forces, virial = (output.numpy() for output in lowered.graph(*tensors))
    expected = potential(atoms, dtype="float64")
    np.testing.assert_allclose(energies, expected.energies, rtol=TOLERANCE)
    np.testing.assert_allclose(energy, expected.energy, rtol=TOLERANCE)
    scale = max(1.0, np.abs(expected.forces).max())
    np.testing.assert_allclose(forces, expected.forces, atol=TOLERANCE * scale)
    np.testing.assert_allclose(virial, expected.virial, atol=TOLERANCE * max(1.0, np.abs(expected.virial).max()))


def test_tables_list_what_the_manifest_says(lowered):
    """Inputs and outputs, in order, of the kind that is described first."""
    text = DOCS.read_text().split("## Kind `structure`")[1].split("## Kind `program`")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \(([^)]*)\) \|", text, re.MULTILINE)
    values = (*lowered.manifest.inputs, *lowered.manifest.outputs)
    assert rows == [(value.name, value.dtype, ", ".join(map(str, value.shape))) for value in values]
