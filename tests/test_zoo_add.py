"""A checkpoint of one's own is found by its name wherever a name is taken, and is the same to the byte."""

import json
import os
from pathlib import Path

import pytest
from zoo_models import files

import halocline
from halocline.cli.main import main
from halocline.errors import CheckpointError, HaloclineError, UsageError, ZooError
from halocline.zoo.cache import seal_path
from halocline.zoo.store import Zoo

pytestmark = pytest.mark.usefixtures("cache")

ARGON = "lennard-jones-argon"
WATER = "water-revpbe0d3-schnet"


@pytest.fixture
def own(tmp_path):
    """A checkpoint of the user."""
    path = tmp_path / "trained.safetensors"
    path.write_bytes(Zoo().path(ARGON).read_bytes())
    return path


def run(capsys, *words: object) -> tuple[int, str, str]:
    status = main(list(map(str, words)))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_name_finds_it(capsys, tmp_path, cache, own):
    status, out, err = run(capsys, "zoo", "add", own, "--name", "mine")
    target = cache / "imported" / "mine.safetensors"
    assert (status, out) == (0, f"{target}\n"), err
    assert target.read_bytes() == own.read_bytes()
    own.unlink()  # it is a copy
    assert halocline.load("mine").species == ("Ar",)
    (tmp_path / "argon.xyz").write_text("2\n\nAr 0 0 0\nAr 0 0 4\n")
    for words in (
        ["run", tmp_path / "argon.xyz", "-m", "mine", "--json"],
        ["relax", tmp_path / "argon.xyz", "-m", "mine", "-o", tmp_path / "relaxed.xyz"],
        ["zoo", "show", "mine"],
        ["zoo", "verify", "mine"],
        ["zoo", "path", "mine"],
        ["zoo", "pull", "mine"],
    ):
        assert run(capsys, *words)[0] == 0, words
    listed = {model["name"]: model for model in json.loads(run(capsys, "zoo", "list", "--json")[1])}
    assert [name for name, model in listed.items() if model["own"]] == ["mine"]
    assert listed["mine"]["licences"] == listed[ARGON]["licences"]
    assert "mine (yours)" in run(capsys, "zoo", "list")[1]


def test_its_card_or_its_file_names_it(tmp_path, own):
    with pytest.raises(UsageError, match=f"{ARGON} is a model of the zoo.*--name"):
        Zoo().add_checkpoint(own)
    potential = halocline.load(own)
    unnamed = tmp_path / "trained-twice.safetensors"
    card = {key: value for key, value in potential.card.items() if key != "name"}
    type(potential)(potential.backbone, potential.reference_energies, card).save(unnamed)
    assert Zoo().add_checkpoint(unnamed).stem == "trained-twice"


def test_an_earlier_one_is_kept_unless_it_may_go(tmp_path, own):
    zoo = Zoo()
    target = zoo.add_checkpoint(own, "mine")
    before = target.read_bytes()
    other = zoo.path(WATER)
    with pytest.raises(UsageError, match="--replace"):
        zoo.add_checkpoint(other, "mine")
    assert zoo.verify("mine").read_bytes() == before
    zoo.add_checkpoint(other, "mine", replace=True)
    assert zoo.verify("mine").read_bytes() == other.read_bytes()
    (tmp_path / "odd.safetensors").write_bytes(before[:-1])
    with pytest.raises(CheckpointError):
        zoo.add_checkpoint(tmp_path / "odd.safetensors", "mine", replace=True)
    assert zoo.verify("mine").read_bytes() == other.read_bytes()
    assert zoo.add_checkpoint(target, "mine", replace=True).read_bytes() == other.read_bytes()  # onto itself


@pytest.mark.parametrize(
    "name", ["", "../mine", "a/b", "Mine", ".mine", "con", "a b", "m\n", "\ud800", ARGON, WATER]
)
def test_names_that_are_none_or_not_free(cache, own, name):
    with pytest.raises(UsageError, match="--name"):
        Zoo().add_checkpoint(own, name)
    assert not cache.exists()


def damaged(path: Path) -> None:
    *content, last = path.read_bytes()
    path.write_bytes(bytes([*content, last ^ 1]))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "change",
    [
        damaged,
        pipe,
        folder,
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("text"),
        lambda path: path.write_bytes(path.read_bytes()[:-8]),
    ],
    ids=["bit", "pipe", "folder", "missing", "empty", "text", "cut"],
)
def test_what_does_not_verify(cache, own, change):
    change(own)
    with pytest.raises(HaloclineError, match="trained"):
        Zoo().add_checkpoint(own, "mine")
    assert files(cache) == set()


def test_a_name_of_the_zoo_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZooError, match=f"no file {ARGON}"):
        Zoo().add_checkpoint(Path(ARGON), "mine")


def test_rot_names_the_way_back(own):
    path = Zoo().add_checkpoint(own, "mine")
    damaged(path)
    with pytest.raises(ZooError, match="halocline zoo add FILE --name mine --replace"):
        halocline.load("mine")
    Zoo().add_checkpoint(own, "mine", replace=True)
    assert seal_path(Zoo().verify("mine")).exists()
