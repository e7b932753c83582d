"""Files that list which frames serve what: read as they are published, refused where they do not fit."""

import ase.io
import numpy as np
import pytest
from data_files import clusters, write_in

from halocline.data.indices import NAMES, read_indices, write_indices
from halocline.errors import TrainingError, UsageError
from halocline.training.problem import prepare
from halocline.training.recipe import make_recipe


def test_what_is_written_is_read(tmp_path):
    sets = {"train": [4, 0], "validation": [1], "test": [2], "examine": [3, 5], "reserve": [6]}
    write_indices(tmp_path / "a.npz", sets)
    with np.load(tmp_path / "a.npz") as file:
        assert sorted(file.files) == sorted(NAMES.values())
    found = read_indices(tmp_path / "a.npz", 7)
    assert {name: each.tolist() for name, each in found.items()} == sets | {"train": [0, 4]}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"train": [0]}, "has no train_idx, it holds train"),
        ({"train_idx": [0, 1], "val_idx": [1, 2]}, "1 frames in both train_idx and val_idx, such as 1"),
        ({"train_idx": [0], "val_idx": [1, 2], "test_idx": [2]}, "both val_idx and test_idx, such as 2"),
        ({"train_idx": [0, 5]}, "train_idx .* names frame 5, but there are 5"),
        ({"train_idx": [0], "reserve_idx": [-1]}, "reserve_idx .* names frame -1"),
        ({"train_idx": [0, 0]}, "names frame 0 twice"),
        ({"train_idx": [0.5]}, "float64 and not whole numbers"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(TrainingError, match=words):
        read_indices(tmp_path / "a.npz", 5)


def test_files_that_are_missing_damaged_or_something_else_are_named(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(TrainingError, match="no split file"):
        read_indices(path, 5)
    write_indices(path, {"train": range(1000)})
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", np.arange(3))
    for content in (b"", whole[:100], whole[:-30], b"text", (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(TrainingError, match="damaged or something else"):
            read_indices(path, 1000)


def recipe(**data):
    model = {"backbone": "schnet", "config": {"features": 8, "layers": 1, "cutoff": 3.0}}
    return make_recipe({"data": data, "model": model, "training": {"epochs": 1}})


def test_a_recipe_takes_one_file_for_each_of_its_own(tmp_path):
    frames = clusters([1] * 10)
    write_in(tmp_path / "a.extxyz", frames[:4])
    write_in(tmp_path / "b.extxyz", frames[4:])
    write_indices(tmp_path / "a.npz", {"train": [3, 0], "test": [1]})
    write_indices(tmp_path / "b.npz", {"train": [5], "validation": [0], "reserve": [1, 2]})
    data = {"files": ("a.extxyz", "b.extxyz"), "split_files": ("a.npz", "b.npz")}
    problem = prepare(recipe(**data), tmp_path)
    assert problem.split.purposes() == {"train": (0, 3, 9), "validation": (4,), "test": (1,)}
    write_indices(tmp_path / "b.npz", {"train": [4], "validation": [0]})
    assert prepare(recipe(**data), tmp_path).digest != problem.digest  # so that no run goes on with another split


def test_units_of_a_recipe_hold_for_its_files(tmp_path):
    frames = clusters([1] * 4)
    write_in(tmp_path / "a.extxyz", frames, energy=27.211386, length=0.5291772)
    files = {"train_files": ("a.extxyz",)}
    problem = prepare(recipe(**files, energy_unit="Hartree", length_unit="Bohr"), tmp_path)
    for label, atoms in zip(problem.labels, frames, strict=True):
        np.testing.assert_allclose(label.forces, atoms.calc.results["forces"], atol=1e-6)
    for key, value in (("energy_unit", "hartrees"), ("length_unit", "A"), ("forces_are", "gradient")):
        with pytest.raises(UsageError, match=f"{value}"):
            recipe(**files, **{key: value})


@pytest.mark.parametrize(
    "data",
    [
        {"files": ("a",)},
        {"files": ("a",), "train_files": ("a",), "split_files": ("b",)},
        {"split_files": ("a",)},
        {"files": ("a",), "split_files": ("b",), "split": {"seed": 0, "train": 1}},
        {"files": ("a",), "validation_files": ("b",), "split_files": ("b",)},
    ],
)
def test_there_is_one_way_to_split(data):
    with pytest.raises(UsageError, match="either data"):
        recipe(**data)


def test_as_many_split_files_as_files():
    with pytest.raises(UsageError, match="there are 1 for 2"):
        recipe(files=("a", "b"), split_files=("c",))


def test_a_frame_of_another_file_format_still_reads(tmp_path):
    frames = clusters([1] * 3)
    ase.io.write(tmp_path / "a.traj", frames)
    assert len(prepare(recipe(train_files=("a.traj",)), tmp_path).frames) == 3
