"""SchNets of PNNL's water-cluster work become ours with the same energies and forces; damaged ones are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import write
from foreign_files import PnnlModules, refusal, write_pnnl
from numpy_reference.pnnl import NumpyPnnl
from scipy.spatial.transform import Rotation
from test_zoo_foreign_faults import Hostile

import halocline
from halocline.cli.main import main
from halocline.zoo.conversion import format_of, read
from halocline.zoo.foreign import read_pnnl

#: eV in a kcal/mol: (kilo · 4184 J/mol) / (e · N_A), with CODATA 2014, as ASE has it.
KCAL_PER_MOL = 4184.0 / (1.6021766208e-19 * 6.022140857e23)

#: eV and eV/Å: float64 on both sides.
EXACT = 1e-12


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))


def cluster(waters: int, edge: float):
    """Water molecules on a grid, moved and turned at random; O, H, H of each in turn."""
    random = np.random.default_rng(waters)
    side = int(np.ceil(waters ** (1 / 3)))
    found = molecule("H2O")[:0]
    for number in range(waters):
        one = molecule("H2O")
        one.positions = Rotation.random(rng=random).apply(one.positions) + random.normal(scale=0.2, size=3)
        one.positions += edge * np.array(np.unravel_index(number, (side, side, side)))
        found += one
    return found


def found(path, atoms):
    """Energy and forces through the importer and the command line's own evaluator."""
    assert main(["zoo", "import", str(path), "--name", "pnnl"]) == 0
    result = halocline.load("pnnl")(atoms, dtype="float64")
    return result.energy, result.forces


@pytest.mark.parametrize(
    ("waters", "edge"),
    [(1, 3.0), (3, 3.0), (12, 3.0), (10, 4.5)],
    ids=["one", "all see all", "28 of 35", "28 reach beyond the cutoff"],
)
def test_water_clusters_have_its_energies_and_forces(tmp_path, waters, edge):
    state = PnnlModules(features=12, gaussians=25, interactions=3).state_dict()
    state = {name: value if "offset" in name else 1.7 * value for name, value in state.items()}  # larger forces
    atoms = cluster(waters, edge)
    energy, forces = found(write_pnnl(tmp_path / "m.pt", state), atoms)
    reference = NumpyPnnl(state)
    numbers, positions = atoms.numbers, atoms.positions
    assert energy == pytest.approx(KCAL_PER_MOL * reference.energy(numbers, positions), rel=EXACT)
    expected = KCAL_PER_MOL * reference.forces(numbers, positions)
    assert np.abs(expected).max() > 0.001
    np.testing.assert_allclose(forces, expected, rtol=0.0, atol=EXACT)


def test_one_cluster_reaches_beyond_the_cutoff():
    """Where the cosine rises again: a model that ended there would be another one."""
    positions = cluster(10, 4.5).positions
    distances = np.sort(np.linalg.norm(positions[:, None] - positions, axis=2))
    assert distances[:, 28].min() > 6.0


def test_sizes_and_wrapped_names(tmp_path):
    """Everything is read off the file, within DataParallel or not."""
    state = PnnlModules(features=10, gaussians=7, interactions=1, cutoff=5.3).state_dict()
    plain = read_pnnl(write_pnnl(tmp_path / "a.pt", state))
    wrapped = read_pnnl(write_pnnl(tmp_path / "b.pt", {f"module.{name}": value for name, value in state.items()}))
    assert plain.config == wrapped.config == {"features": 10, "gaussians": 7, "interactions": 1, "cutoff": 5.3}
    assert plain.tensors.keys() == wrapped.tensors.keys()
    atoms = cluster(4, 3.0)
    energy, _ = found(tmp_path / "b.pt", atoms)
    expected = KCAL_PER_MOL * NumpyPnnl(state, cutoff=5.3).energy(atoms.numbers, atoms.positions)
    assert energy == pytest.approx(expected, rel=1e-6)  # its centres are rounded to float32, ours are not


def test_what_lies_in_the_row_of_padding_is_no_matter(tmp_path):
    state = PnnlModules().state_dict()
    before = found(write_pnnl(tmp_path / "m.pt", state), cluster(2, 3.0))
    state["atom_embedding.weight"][0] = 7.0
    after = found(write_pnnl(tmp_path / "m.pt", state), cluster(2, 3.0))
    assert before[0] == after[0]
    assert not halocline.load("pnnl").backbone.state_dict()["embed.table.weight"][0].any()


def test_command_line(tmp_path, capsys):
    path = write_pnnl(tmp_path / "TTM_minima.pt")
    assert main(["zoo", "import", str(path), "--name", "clusters"]) == 0
    write(tmp_path / "w.xyz", cluster(3, 3.0))
    capsys.readouterr()
    assert main(["run", str(tmp_path / "w.xyz"), "-m", "clusters", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["atoms"] == 9
    potential = halocline.load("clusters")
    assert potential.species == ("H", "O")
    assert potential.backbone.config["neighbours"] == "nearest"
    assert potential.backbone.config["nearest_count"] == 28
    recipe = potential.card["recipe"]
    assert recipe["converted_from"] == "pnnl"
    assert recipe["energies_in"] == "kcal/mol"
    assert set(recipe["files"]) == {"TTM_minima.pt"}


def changed(**changes):
    """A state with some tensors replaced, or left out where there is None."""
    state = PnnlModules().state_dict() | {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (changed(interactions__0__conv__nn__2__bias=torch.ones(8)), "must be the same weights, and differ"),
        (changed(interactions__1__conv__lin1__weight=None), "no tensor interactions.1.conv.lin1.weight"),
        (changed(interactions__0__conv__nn__0__bias=None), "no tensor interactions.0.conv.nn.0.bias"),
        (changed(lin1__weight=torch.ones(4, 7)), "the shape (4, 7)"),
        (changed(lin2__bias=torch.tensor([torch.inf])), "finite"),
        (changed(more=torch.ones(1)), "tensor 'more'"),
        (changed(atom_embedding__weight=None), "atom_embedding.weight"),
        (changed(atom_embedding__weight=torch.ones(99, 8)), "the shape (99, 8)"),
        (changed(atom_embedding__weight=torch.ones(100, 7)), "7 features"),
        (changed(basis_expansion__offset=torch.tensor([0.0, 1.0, 3.0, 4.0, 5.0, 6.0])), "evenly spaced"),
        (changed(basis_expansion__offset=torch.zeros(6)), "evenly spaced"),
        (changed(basis_expansion__offset=torch.tensor(1.0)), "1 axes"),
        ({"basis_expansion.offset": torch.ones(2)}, "interactions.0.lin.bias"),
        ({"basis_expansion.offset": torch.ones(2), "epoch": 3}, "'epoch'"),
        ({"state": {"basis_expansion.offset": torch.ones(2)}}, "'state'"),
        ({"model.distance_expansion.offset": torch.ones(2)}, "layout of PyG"),
    ],
)
def test_what_is_not_of_this_layout_is_refused(tmp_path, state, words):
    path = write_pnnl(tmp_path / "m.pt", state)
    assert format_of(path) == "pnnl"
    assert words in refusal(lambda file: read(format_of(file), file), path)


def test_nothing_in_a_file_is_run(tmp_path):
    path = write_pnnl(tmp_path / "m.pt", changed(more=Hostile(tmp_path / "victim")))
    assert ".mkdir'" in refusal(read_pnnl, path)
    assert not (tmp_path / "victim").exists()


def test_truncated(tmp_path):
    path = write_pnnl(tmp_path / "m.pt")
    data = path.read_bytes()
    for size in np.linspace(0, len(data) - 1, 20, dtype=int):
        path.write_bytes(data[:size])
        refusal(read_pnnl, path)
