"""One training in a folder at a time, and nobody else's files are replaced."""

import pytest

from halocline.cli.main import main
from halocline.training.folder import METRICS_FILE, MODEL_FILE, claimed


@pytest.fixture
def train(folder):
    """Run the command in the folder of the recipe, into the folder `out`."""
    return lambda *options: main(["train", str(folder / "recipe.toml"), "-o", str(folder / "out"), *options])


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_a_second_training_is_refused_and_changes_nothing(train, folder, capsys):
    with claimed(folder / "out"):
        assert train() == 1
        assert "Another process is training in" in capsys.readouterr().err
        assert not files_of(folder / "out")
    assert train() == 0


@pytest.mark.parametrize("name", [MODEL_FILE, METRICS_FILE])
def test_files_of_somebody_else_stay(train, folder, capsys, name):
    (folder / "out").mkdir()
    (folder / "out" / name).write_text("mine")
    for options in ([], ["--resume"]):
        assert train(*options) == 2
        assert name in capsys.readouterr().err
    assert files_of(folder / "out") == {name: b"mine"}


def test_a_run_goes_on_over_its_own_files(train, capsys):
    assert train() == 0
    assert train() == 2
    assert "--resume" in capsys.readouterr().err
    assert train("--resume") == 0


def test_a_folder_that_cannot_be_made_is_named(train, folder, capsys):
    (folder / "out").write_text("a file")
    assert train() == 1
    assert "Cannot write into" in capsys.readouterr().err


def test_a_card_that_is_too_large_is_refused_before_the_first_epoch(train, folder, edit_recipe, capsys):
    edit_recipe('name = "argon"', f'name = "argon"\nnotes = "{"long " * 300_000}"')
    assert train() == 1
    assert "config and card take" in capsys.readouterr().err
    assert not files_of(folder / "out")
