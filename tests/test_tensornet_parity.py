"""TensorNets of MatGL are read whole or refused, and give what it gives; see `oracles/tensornet/README.md`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from foreign_files import refusal
from oracles.tensornet.models import ENERGIES, structures
from real_data import real_data

import halocline
from halocline.cli.main import main
from halocline.plugin import registry
from halocline.plugins.backbones.tensornet.tensors import Matrices, basis, of_directions, product, squares
from halocline.potential.load import build_potential
from halocline.zoo.foreign import read_matgl
from halocline.zoo.index import read_index

FOLDER = Path(__file__).parent / "oracles" / "tensornet"
ANSWERS = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))

#: Of one eV, of the largest force and of the largest stress: rounding of sums, in both precisions.
AGREEMENT = {"float64": 1e-10, "float32": 1e-5}

#: eV and eV/Å, of a small model, whose energies are of the order of 1 eV.
COMPRESSED = 1e-5

#: Of sums of a few products of numbers around one.
ROUNDING = 1e-14


def potential(folder):
    foreign = read_matgl(folder)
    return build_potential(registry().load("converter", foreign.dialect)(foreign.config, foreign.tensors))


@pytest.mark.parametrize("precision", AGREEMENT)
def test_energies_forces_and_stress_are_those_of_the_package(precision):
    model = potential(FOLDER / "files")
    for case, atoms in structures().items():
        found, answer = model(atoms, dtype=precision, device="cpu"), ANSWERS[case]
        assert abs(found.energy - answer["energies"][0]) <= AGREEMENT[precision] * len(atoms)
        for ours, theirs in ((found.forces, answer["forces"]), (found.stress, answer["stress"])):
            assert np.abs(ours - theirs).max() <= AGREEMENT[precision] * np.abs(theirs).max()


def test_compressed_it_is_the_same():
    """Its functions of the distance are right to 1e-7 in tables, and their slopes to 1e-6."""
    model, atoms = potential(FOLDER / "files"), structures()["crystal"]
    exact, found = (model(atoms, dtype="float64", device="cpu", compress=c) for c in (False, True))
    assert abs(exact.energy - found.energy) < COMPRESSED
    assert 0.0 < np.abs(exact.forces - found.forces).max() < COMPRESSED


def test_isolated_atoms_have_energies_and_no_forces():
    model = potential(FOLDER / "files")
    far = model(Atoms("OH", [(0, 0, 0), (50, 0, 0)]), dtype="float64", device="cpu")
    alone = [model(Atoms(symbol), dtype="float64", device="cpu").energy for symbol in "OH"]
    assert abs(far.energy - sum(alone)) < AGREEMENT["float64"]
    assert np.abs(far.forces).max() == 0.0
    assert model.reference_energies == dict(zip("HOC", ENERGIES, strict=True))


def test_coefficients_are_those_of_matrices():
    """Norms, products and matrices of directions, by matrices themselves."""
    random, matrices = np.random.default_rng(0), Matrices()
    a, b = (torch.from_numpy(random.standard_normal((2, 9, 5))) for _ in range(2))
    of_a, of_b = (np.einsum("kij,nkc->ncij", basis(), x.numpy()) for x in (a, b))
    assert np.abs(squares(a).numpy() - (of_a**2).sum((-2, -1))).max() < 9 * ROUNDING
    product_of_both = product(matrices(a), matrices(b)).permute(0, 3, 1, 2).numpy()
    assert np.abs(product_of_both - of_a @ of_b).max() < 9 * ROUNDING
    assert (matrices.coefficients(matrices(a)) - a).abs().max() < 9 * ROUNDING
    x, y, z = direction = random.standard_normal(3)
    direction /= np.linalg.norm(direction)
    x, y, z = direction
    skew, symmetric = of_directions(torch.from_numpy(direction))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    assert np.abs(np.einsum("kij,k->ij", basis()[1:4], skew.numpy()) - cross).max() < ROUNDING
    traceless = np.outer(direction, direction) - np.eye(3) / 3
    assert np.abs(np.einsum("kij,k->ij", basis()[4:], symmetric.numpy()) - traceless).max() < ROUNDING


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rbf_type": "Gaussian"}, "rbf_type"),
        ({"use_smooth": False}, "use_smooth"),
        ({"equivariance_invariance_group": "SO(3)"}, "equivariance_invariance_group"),
        ({"units": 5}, "shape"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, change, words):
    shutil.copytree(FOLDER / "files", tmp_path / "m")
    document = json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))
    document["kwargs"]["model"]["init_args"] |= change
    (tmp_path / "m" / "model.json").write_text(json.dumps(document), encoding="utf-8")
    assert words in refusal(read_matgl, tmp_path / "m")


def test_models_of_the_other_backend_are_refused(tmp_path):
    """Their interactions read an atom's own tensors, not its neighbours', so that weights mean something else."""
    shutil.copytree(FOLDER / "files", tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    path.write_text(path.read_text(encoding="utf-8").replace("_tensornet_pyg", "_tensornet_dgl"), encoding="utf-8")
    assert "backend PyG" in refusal(read_matgl, tmp_path / "m")


@pytest.mark.slow
def test_the_real_weights(capsys, cache, monkeypatch):
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    entry = read_index().entries["tensornet-matpes-pbe"]
    folder = real_data("checkpoints_matgl") / entry.address.rstrip("/").rpartition("/")[2]
    assert main(["zoo", "pull", "tensornet-matpes-pbe", "--from", str(folder)]) == 0
    assert "converted from matgl, 3 reference energies reproduced" in capsys.readouterr().err
    assert halocline.load("tensornet-matpes-pbe").card["licence"]["weights"] == "BSD-3-Clause"
