"""Files of compressed models: made by a command, run like any other, refused where their tables are not theirs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from ase.io import read, write
from test_compress import FOUNDATION, SEVERAL, mace, of_elements
from test_kinds import onnx

import halocline
from halocline.backends.onnx.exporter import OnnxExporter
from halocline.checkpoint import load_checkpoint, read_header, save_checkpoint
from halocline.cli.main import main
from halocline.errors import CheckpointError, KernelError, UsageError
from halocline.model.kept_tables import is_compressed, table_tensors
from halocline.plugins.kernels.tables import SLOPE, VALUE
from halocline.potential.compress import compressed
from halocline.potential.potential import Potential
from halocline.program import Precision

WATER, TABLES = "water-revpbe0d3-schnet", "halocline/tables"

#: Eager evaluation in float64, which the bits of results are compared in.
EXACT = {"device": "cpu", "dtype": "float64"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compressed")


@pytest.fixture(scope="module")
def water(folder):
    """The file of a compressed model of water, as the command writes it."""
    path = folder / "water.safetensors"
    assert main(["compress", WATER, "--prune", "1", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def cluster():
    atoms = read("examples/water.extxyz")[:24]
    atoms.set_pbc(False)
    return atoms


@pytest.fixture(scope="module")
def several():
    backbone = mace(**SEVERAL)
    return Potential(backbone, dict.fromkeys(backbone.species, -1.0), {"name": "several"})


def same(found, expected):
    return found.energy == expected.energy and np.array_equal(found.forces, expected.forces)


def test_a_compressed_file_is_what_compress_gives(water, cluster):
    exact = halocline.load(WATER, prune=1)
    found = halocline.load(water)(cluster, **EXACT)
    assert same(found, exact(cluster, **EXACT, compress=True))
    assert same(found, halocline.load(water)(cluster, **EXACT, compress=True))
    assert not same(found, exact(cluster, **EXACT))


def test_its_card_is_that_of_the_model_and_says_how_good_tables_are(water):
    exact = halocline.load(WATER, prune=1)
    card = read_header(water).card
    about = card.pop("compression")
    assert card == exact.card
    assert about["exact_sha256"] == exact.digest()
    assert about["kernel"] == TABLES
    assert 0.0 < about["value_error"] <= VALUE
    assert 0.0 < about["slope_error"] <= SLOPE
    assert halocline.load(water).digest() != exact.digest()


def test_it_holds_the_exact_weights(water):
    exact, compact = (halocline.load(each, prune=1).backbone for each in (WATER, water))
    for (name, one), (other_name, other) in zip(
        exact.state_dict().items(), compact.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert torch.equal(one, other)


def test_it_is_saved_as_it_was(water, folder):
    halocline.load(water).save(folder / "again.safetensors")
    assert (folder / "again.safetensors").read_bytes() == water.read_bytes()


def test_dynamics_belong_to_the_model_that_they_began_with(water, cluster, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    write("start.extxyz", cluster)
    words = ["md", "start.extxyz", "--device", "cpu", "--checkpoint-interval", "2", "-o", "parts"]
    assert main([*words, "-m", str(water), "--steps", "2"]) == 0
    assert f"The kernel {TABLES} (version " in capsys.readouterr().err
    assert main([*words, "-m", WATER, "--prune", "1", "--steps", "4", "--resume"]) != 0
    assert "model was" in capsys.readouterr().err
    assert main([*words, "-m", str(water), "--steps", "4", "--resume"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", [["relax", "--max-steps", "1", "--fmax", "10"], ["eval"], ["bench"]], ids=str)
def test_commands_take_it_like_any_other(water, cluster, tmp_path, monkeypatch, words, capsys):
    monkeypatch.chdir(tmp_path)
    labelled = cluster.copy()
    labelled.calc = halocline.load(water).calculator(device="cpu")
    labelled.get_forces()
    write("start.extxyz", labelled)
    command, *options = words
    given = ["--structure", "start.extxyz", "--atoms", "24", "--steps", "1"] if command == "bench" else []
    given += ["--backend", "torch"]
    status = main([command, *([] if given[:-2] else ["start.extxyz"]), "-m", str(water), *given, *options])
    assert status == 0, capsys.readouterr().err


def test_exports_have_its_tables(water, folder):
    onnx()
    manifest = OnnxExporter().export(halocline.load(water), Precision.FLOAT32, folder / "water.onnx")
    assert manifest.versions[f"kernel {TABLES}"]


@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_parts_have_its_tables(water, cluster, halo):
    found = halocline.load(water)(cluster, **EXACT, partition="rcb:2", halo=halo)
    expected = halocline.load(water)(cluster, **EXACT)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_ranks_have_its_tables(water, cluster):
    potential = halocline.load(water)
    evaluator = potential.evaluator("ddp:ranks=2,oversubscribe=true", "float64", "cpu", "none", "recompute")
    try:
        found = potential.evaluate_with(evaluator, cluster)
        assert any(each.kernel == TABLES for each in evaluator.replaced)
    finally:
        evaluator.close()
    np.testing.assert_allclose(found.forces, potential(cluster, **EXACT).forces, rtol=0, atol=1e-10)


def test_layers_that_are_left_keep_their_tables(folder, cluster):
    exact, path = halocline.load(WATER), folder / "whole.safetensors"
    compressed(exact).save(path)
    found = halocline.load(path, prune=2)(cluster, **EXACT)
    assert same(found, halocline.load(WATER, prune=2)(cluster, **EXACT, compress=True))


def test_other_weights_are_not_run_with_its_tables(water, cluster):
    potential = halocline.load(water)
    with torch.no_grad():
        potential.backbone.layers[0].filters.out.weight *= 1.01
    with pytest.raises(KernelError, match="the tables that it carries miss its radial functions"):
        potential(cluster, **EXACT)


def test_a_table_that_ends_elsewhere_than_its_function_is_refused(water, cluster):
    potential = halocline.load(water)
    potential.backbone.layers[0].filters.kept.last[0, 0] += 1e-3
    with pytest.raises(KernelError, match="the tables that it carries miss its radial functions"):
        potential(cluster, **EXACT)


def test_kernels_off_is_refused(water, cluster):
    with pytest.raises(UsageError, match="Compression takes kernels"):
        halocline.load(water)(cluster, backend="torch:kernels=off")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors: tensors.pop("tables.layers.0.filters.last"),
        lambda tensors: tensors.update({"tables.layers.0.filters.last": torch.zeros(1, 3)}),
        lambda tensors: tensors.update({"tables.layers.0.filters.pairs": torch.zeros(2, 2, dtype=torch.int64)}),
        lambda tensors: tensors.update({"tables.layers.0.filters.coefficients": torch.zeros(1, 0, 4, 128)}),
    ],
)
def test_tables_that_are_none_are_refused(water, folder, spoil):
    checkpoint, path = load_checkpoint(water), folder / "spoilt.safetensors"
    spoil(checkpoint.tensors)
    save_checkpoint(path, checkpoint)
    with pytest.raises(CheckpointError, match=r"no table for the radial function 'layers\.0\.filters'"):
        halocline.load(path)


def test_what_cannot_be_compressed_is_refused_by_name(water, folder, capsys):
    output = folder / "other.safetensors"
    for words, status, said in (
        (["lennard-jones-argon"], 1, "'lennard-jones' cannot be compressed"),
        ([str(water)], 2, "compressed already"),
        ([WATER, "--elements", "H"], 2, "the same for all elements"),
        ([WATER, "--elements", "Hh"], 2, "did you mean"),
        ([WATER, "--prune", "9"], 2, "Cannot keep 9 layers"),
    ):
        assert main(["compress", *words, "-o", str(output)]) == status
        assert said in capsys.readouterr().err
    assert not output.exists()
    assert main(["compress", WATER, "-o", str(water)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["compress", WATER, "-o", str(folder / "model.pt")]) == 2
    assert "safetensors" in capsys.readouterr().err


def test_the_command_tells_what_it_made_as_json(folder, capsys):
    words = ["compress", WATER, "--prune", "1", "-o", str(folder / "water.safetensors"), "--overwrite", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sha256"] == halocline.load(folder / "water.safetensors").digest()
    assert told["value_error"] <= VALUE


def test_pairs_of_all_elements(folder):
    backbone = mace(**FOUNDATION)
    potential, path = Potential(backbone, dict.fromkeys(backbone.species, 0.0), {}), folder / "mace.safetensors"
    compressed(potential).save(path)
    atoms = of_elements(*backbone.species)
    assert same(halocline.load(path)(atoms, **EXACT), potential(atoms, **EXACT, compress=True))


def test_pairs_of_some_elements(several, folder):
    made, path = compressed(several, ["O", "H"]), folder / "some.safetensors"
    assert made.card["compression"]["elements"] == "H O"
    assert not is_compressed(several.backbone)
    made.save(path)
    loaded = halocline.load(path)
    atoms = of_elements("H", "O")
    assert same(loaded(atoms, **EXACT), several(atoms, **EXACT, compress=True))
    with pytest.raises(KernelError, match="tables for H, O, and not for Cu"):
        loaded(of_elements("Cu", "O"), **EXACT)
    assert same(loaded(atoms, **EXACT), several(atoms, **EXACT, compress=True))
    onnx()
    with pytest.raises(KernelError, match="some of its elements only"):
        OnnxExporter().export(loaded, Precision.FLOAT32, folder / "some.onnx")


def test_tables_are_no_weights(water):
    backbone = halocline.load(water).backbone
    assert table_tensors(backbone)
    assert not any(name.startswith("tables.") for name in backbone.state_dict())
