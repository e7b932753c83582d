"""Models of other packages are read as plain data; whatever else a file holds or asks for is refused by name."""

import numpy as np
import pytest
import torch
from foreign_files import (
    MATGL_ARGUMENTS,
    MATTERSIM_ARGUMENTS,
    matgl_tensors,
    mattersim_tensors,
    refusal,
    write_matgl,
    write_mattersim,
)
from oracles.m3gnet.records import FOLDER as ANSWERS
from real_data import real_data

from halocline.zoo.foreign import read_matgl, read_mattersim
from halocline.zoo.foreign.constants import mattersim_coefficients
from halocline.zoo.foreign.unpickle import read_torch_file

BASIS = "model.basis_expansion.sbf."


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype


def test_matgl_folder(tmp_path):
    model = read_matgl(write_matgl(tmp_path / "m"))
    expected = matgl_tensors()
    del expected["element_refs.onehot"]
    assert_same(model.tensors, expected)
    assert model.dialect == "matgl"
    assert model.config["units"] == 5
    assert model.config["element_types"] == ["H", "O"]
    assert "rbf_type" not in model.config
    assert set(model.facts["files"]) == {"model.json", "state.pt"}


def test_matgl_basis_that_is_not_smooth_comes_with_its_constants(tmp_path):
    arguments = MATGL_ARGUMENTS | {"use_smooth": False}
    tensors = read_matgl(write_matgl(tmp_path / "m", arguments)).tensors
    assert tensors[f"{BASIS}roots_slice"].shape == tensors[f"{BASIS}inv_norm"].shape == (3, 3)
    assert "constants are not known" in refusal(read_matgl, write_matgl(tmp_path / "n", arguments | {"max_n": 2}))


def test_constants_are_those_of_the_packages(tmp_path):
    """To the last bit, and in single precision whatever the default is."""
    folder = write_matgl(tmp_path / "m", MATGL_ARGUMENTS | {"use_smooth": False})
    torch.set_default_dtype(torch.float64)
    try:
        tensors, coefficients = read_matgl(folder).tensors, mattersim_coefficients().numpy()
    finally:
        torch.set_default_dtype(torch.float32)
    with np.load(ANSWERS / "mp-2021.npz") as answers:
        for name, expected in (("roots_slice", "basis_roots"), ("inv_norm", "basis_norms")):
            np.testing.assert_array_equal(tensors[BASIS + name].numpy(), answers[expected], strict=True)
    with np.load(ANSWERS / "mattersim-small.npz") as answers:
        np.testing.assert_array_equal(coefficients, answers["sbf.coef"], strict=True)


def test_matgl_pickle_of_arguments_is_not_opened(tmp_path):
    folder = write_matgl(tmp_path / "m")
    (folder / "model.pt").write_bytes(b"anything")
    read_matgl(folder)


@pytest.mark.parametrize("stored", [True, False])
def test_mattersim_file(tmp_path, stored):
    written = mattersim_tensors()
    if not stored:
        del written["sbf.coef"]  # as in the released files
    model = read_mattersim(write_mattersim(tmp_path / "m.pth", tensors=written))
    assert_same(model.tensors, mattersim_tensors())
    assert model.config == MATTERSIM_ARGUMENTS
    assert model.facts["description"] == "a test"


def test_tensors_own_their_memory(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"a": whole[:, 1], "b": whole.T, "c": torch.zeros(0, 4), "d": torch.arange(3)}, tmp_path / "t.pt")
    tensors = read_torch_file(tmp_path / "t.pt")
    assert_same(tensors, {"a": whole[:, 1], "b": whole.T, "c": torch.zeros(0, 4), "d": torch.arange(3)})
    tensors["a"].zero_()
    assert torch.equal(tensors["b"], whole.T)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"surprise": 1}, "'surprise', whose meaning is not known"),
        ({"rbf_type": "Gaussian"}, "'rbf_type'"),
        ({"is_intensive": True}, "'is_intensive'"),
        ({"include_state": True}, "'include_state'"),
        ({"use_phi": True}, "'use_phi'"),
        ({"activation_type": "tanh"}, "'activation_type'"),
        ({"units": 0}, "'units'"),
        ({"units": True}, "'units'"),
        ({"nblocks": 2}, "no tensor model.three_body_interactions.1"),
        ({"nblocks": 65_000}, "ask for 65000 blocks"),
        ({"nblocks": 10**8}, "at most 65536"),
        ({"units": 2**62}, "at most 65536"),
        ({"cutoff": 10**18}, "cutoff"),
        ({"cutoff": -5.0}, "'cutoff'"),
        ({"cutoff": 6.0}, "model.json says 6.0 Å"),
        ({"element_types": ["H", "H"]}, "'element_types'"),
        ({"element_types": []}, "'element_types'"),
        ({"units": 6}, "shape"),
    ],
)
def test_matgl_hyperparameters(tmp_path, change, words):
    folder = write_matgl(tmp_path / "m", MATGL_ARGUMENTS | change, matgl_tensors())
    assert words in refusal(read_matgl, folder)


def test_matgl_missing_hyperparameter(tmp_path):
    arguments = {name: value for name, value in MATGL_ARGUMENTS.items() if name != "is_intensive"}
    assert "lacks the hyper-parameter 'is_intensive'" in refusal(
        read_matgl, write_matgl(tmp_path / "m", arguments)
    )


def test_matgl_folder_that_is_not_what_it_says(tmp_path):
    assert "no folder" in refusal(read_matgl, tmp_path / "nowhere")
    assert "no model.json" in refusal(read_matgl, tmp_path)
    assert "'MEGNet'" in refusal(read_matgl, write_matgl(tmp_path / "a", model="MEGNet"))
    assert "'calc_repuls'" in refusal(read_matgl, write_matgl(tmp_path / "b", potential={"calc_repuls": True}))
    assert "'new'" in refusal(read_matgl, write_matgl(tmp_path / "c", potential={"new": 1}))
    folder = write_matgl(tmp_path / "d")
    (folder / "state.pt").unlink()
    assert "no file" in refusal(read_matgl, folder)
    for text in ("{", "[]", '{"@class": "Model"}', '{"@class": "Potential"}', "[" * 10**5, " " * 2**21):
        (folder / "model.json").write_text(text, encoding="utf-8")
        refusal(read_matgl, folder)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("data_mean", torch.tensor(1.0), "not zero"),
        ("data_std", torch.tensor(float("nan")), "finite"),
        ("data_std", torch.tensor(1), "finite"),
        ("surprise", torch.tensor(1.0), "no place"),
        ("surprise", "text", "tensors by name"),
    ],
)
def test_matgl_tensors(tmp_path, name, value, words):
    folder = write_matgl(tmp_path / "m", tensors=matgl_tensors() | {name: value})
    assert words in refusal(read_matgl, folder)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"arguments": MATTERSIM_ARGUMENTS | {"surprise": 1}}, "'surprise'"),
        ({"arguments": MATTERSIM_ARGUMENTS | {"max_l": 3}}, "'max_l'"),
        ({"arguments": MATTERSIM_ARGUMENTS | {"cutoff": 6.0}}, "r_max"),
        ({"arguments": 3}, "no table"),
        ({"model_name": "graphormer"}, "'graphormer'"),
        ({"tensors": {}}, "no tensor"),
        ({"tensors": {"a": 1}}, "tensors by name"),
    ],
)
def test_mattersim_that_is_not_what_it_says(tmp_path, parts, words):
    assert words in refusal(read_mattersim, write_mattersim(tmp_path / "m.pth", **parts))


def test_mattersim_other_content(tmp_path):
    torch.save([1, 2], tmp_path / "m.pth")
    assert "not a model of MatterSim" in refusal(read_mattersim, tmp_path / "m.pth")


@pytest.mark.parametrize("name", ["MP-2021.2.8", "MatPES-PBE-v2025.1", "MatPES-r2SCAN-v2025.1", "ANI-1x-Subset"])
def test_published_weights(name):
    folder = real_data("checkpoints_matgl") / f"M3GNet-{name}-PES"
    model = read_matgl(folder)
    expected = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    for key in set(expected) - {"element_refs.onehot"}:
        assert torch.equal(model.tensors[key], expected[key]), key
    assert (
        f"state.pt  bytes: {(folder / 'state.pt').stat().st_size}  sha256: {model.facts['files']['state.pt']}"
        in ((folder.parent / "SOURCE.txt").read_text(encoding="utf-8"))
    )
