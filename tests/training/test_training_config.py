"""A recipe says what is wrong with it before any work is done."""

import sys

import pytest

from halocline.errors import CheckpointError, TrainingError, UsageError
from halocline.training.device import make_fabric
from halocline.training.recipe import read_recipe, resolve
from halocline.training.split import draw_split


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 4", "epochs = 4\nlearning_rat = 1.0", "did you mean 'learning_rate'"),
        ("[card]", "[trainig]\n[card]", "did you mean 'training'"),
        ("epochs = 4", "", "lacks training.epochs"),
        ("epochs = 4", 'epochs = "4"', "training.epochs must be a whole number"),
        ("epochs = 4", "epochs = true", "training.epochs must be a whole number"),
        ("epochs = 4", "epochs = 0", "training.epochs must be at least 1"),
        ("learning_rate = 1e-2", "learning_rate = nan", "training.learning_rate must be positive"),
        ("warmup_steps = 3", 'precision = "float16"', "'float32' or 'float64'"),
        ("warmup_steps = 3", "energy_weight = 0\nforces_weight = 0", "training.energy_weight must be positive"),
        ('files = ["argon.extxyz"]', 'files = "argon.extxyz"', "data.files must be a list"),
        ('files = ["argon.extxyz"]', "files = [1]", "data.files"),
        ('files = ["argon.extxyz"]', 'train_files = ["argon.extxyz"]', "either data.files"),
        ("validation = 2", "validation = -1", "data.split.validation must be at least 0"),
        ("[data]", "[data", "is not TOML"),
    ],
)
def test_wrong_recipes_are_refused_by_key(edit_recipe, old, new, message):
    path = edit_recipe(old, new)
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        read_recipe(path)


def test_unknown_card_fields_are_refused_before_the_fit(edit_recipe):
    with pytest.raises(CheckpointError, match="did you mean 'citation'"):
        read_recipe(edit_recipe('name = "argon"', 'citatoin = ["nobody"]'))


def test_missing_recipe(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.toml"):
        read_recipe(tmp_path / "absent.toml")


def test_numbers_without_a_point_are_numbers(edit_recipe):
    assert read_recipe(edit_recipe("learning_rate = 1e-2", "learning_rate = 1")).training.learning_rate == 1.0


def test_paths_are_relative_to_the_recipe_and_expand_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMPLES", str(tmp_path / "elsewhere"))
    assert resolve("a.xyz", tmp_path) == tmp_path / "a.xyz"
    assert resolve("${SAMPLES}/a.xyz", tmp_path) == tmp_path / "elsewhere" / "a.xyz"
    monkeypatch.delenv("SAMPLES")
    with pytest.raises(UsageError, match="SAMPLES"):
        resolve("${SAMPLES}/a.xyz", tmp_path)


def test_without_fabric_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)  # what an import finds if it is not installed
    with pytest.raises(UsageError, match=r"pip install halocline\[train\]"):
        make_fabric("cpu", "float32")


@pytest.mark.parametrize(("device", "message"), [("gpu", "use auto, cpu"), ("cuda:99", "CUDA devices")])
def test_a_device_that_is_not_there_is_refused(device, message):
    with pytest.raises(UsageError, match=message):
        make_fabric(device, "float32")


def test_a_drawn_split_is_disjoint_and_repeatable(folder):
    settings = read_recipe(folder / "recipe.toml").data.split
    split = draw_split(14, settings)
    drawn = [*split.train, *split.validation, *split.test]
    assert [len(frames) for frames in split.purposes().values()] == [8, 2, 4]
    assert sorted(set(drawn)) == sorted(drawn)
    assert split == draw_split(14, settings)
    with pytest.raises(TrainingError, match="asks for 14 frames, but the files hold 13"):
        draw_split(13, settings)
