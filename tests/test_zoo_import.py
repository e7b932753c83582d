"""A user's own model of another package is found by its new name, and says that nobody verified it."""

import json

import pytest
from ase import Atoms
from ase.io import write
from foreign_files import MATGL_ARGUMENTS, mattersim_constants, mattersim_tensors, write_matgl, write_mattersim
from zoo_models import files

import halocline
from halocline.cli.main import main
from halocline.errors import CheckpointError, UsageError, ZooError
from halocline.zoo.cache import seal_path
from halocline.zoo.store import Zoo


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    for name in ("HALOCLINE_OFFLINE", "HALOCLINE_MODEL_PATH", "HALOCLINE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """A small model of MatGL."""
    return write_matgl(tmp_path / "origin")


def run(capsys, *words: object) -> tuple[int, str, str]:
    status = main(list(map(str, words)))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_name_finds_it(capsys, tmp_path, cache, folder):
    status, out, err = run(capsys, "zoo", "import", folder, "--name", "mine")
    assert (status, out) == (0, f"{cache / 'imported' / 'mine.safetensors'}\n")
    assert "nothing was verified" in err
    write(tmp_path / "water.xyz", Atoms("OHH", [[0.0, 0.0, 0.0], [0.97, 0.0, 0.0], [-0.2, 0.95, 0.1]]))
    status, out, _ = run(capsys, "run", tmp_path / "water.xyz", "-m", "mine", "--json")
    assert status == 0
    assert json.loads(out)[0]["atoms"] == 3
    assert halocline.load("mine").species == ("H", "O")


def test_mattersim(tmp_path):
    tensors = mattersim_tensors() | mattersim_constants()
    Zoo().add(write_mattersim(tmp_path / "own.pth", tensors=tensors), "mine")
    potential = halocline.load("mine")
    assert len(potential.species) == 94
    assert potential.card["recipe"]["converted_from"] == "mattersim"


def test_constants_that_are_none(tmp_path, cache):
    """The numbers of a seed are finite, but their roots are not."""
    with pytest.raises(ZooError, match="none of a mattersim model"):
        Zoo().add(write_mattersim(tmp_path / "own.pth"), "mine")
    assert files(cache) == set()


def test_it_is_listed_after_those_of_the_index(capsys, folder):
    known = Zoo().names()
    Zoo().add(folder, "mine")
    assert Zoo().names() == [*known, "mine"]
    status, out, _ = run(capsys, "zoo", "list", "--json")
    model = json.loads(out)[-1]
    assert (status, model["name"], model["present"], model["backbone"]) == (0, "mine", True, "m3gnet")
    assert model["licences"]["weights"] == "not stated"
    _, out, _ = run(capsys, "zoo", "show", "mine")
    assert all(word in out for word in ("Nothing was verified", "model.json", "origin"))


def test_the_card_keeps_where_it_is_from(folder):
    recipe = halocline.load(Zoo().add(folder, "mine")).card["recipe"]
    assert set(recipe["files"]) == {"model.json", "state.pt"}
    assert recipe["converted_from"] == "matgl"


def test_an_earlier_one_is_replaced(tmp_path, cache, folder):
    zoo = Zoo()
    first = zoo.add(folder, "mine").read_bytes()
    other = write_matgl(tmp_path / "other", arguments=MATGL_ARGUMENTS | {"nblocks": 2})
    assert zoo.add(other, "mine").read_bytes() != first
    assert zoo.verify("mine").name == "mine.safetensors"
    assert files(cache) == {"imported/mine.safetensors", "imported/mine.safetensors.sha256"}


@pytest.mark.parametrize("name", ["water-revpbe0d3-schnet", "m3gnet-mp-2021"])
def test_names_of_the_index_are_taken(folder, cache, name):
    with pytest.raises(UsageError, match="under another name"):
        Zoo().add(folder, name)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["", "../mine", "a/b", "Mine", ".mine", "con", "a b"])
def test_hostile_names(folder, cache, name):
    with pytest.raises(UsageError, match="cannot name a model"):
        Zoo().add(folder, name)
    assert not cache.exists()


def test_what_is_no_model(tmp_path, cache):
    zoo = Zoo()
    with pytest.raises(ZooError, match="no folder or file"):
        zoo.add(tmp_path / "none", "mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"has no model\.json"):
        zoo.add(tmp_path / "empty", "mine")
    (tmp_path / "text.pth").write_text("text")
    with pytest.raises(CheckpointError, match=r"text\.pth"):
        zoo.add(tmp_path / "text.pth", "mine")
    odd = write_matgl(tmp_path / "odd", arguments=MATGL_ARGUMENTS | {"temperature": 300})
    with pytest.raises(CheckpointError, match="'temperature'"):
        zoo.add(odd, "mine")
    assert not cache.exists()


def test_a_failed_import_leaves_the_earlier_one(tmp_path, folder):
    zoo = Zoo()
    content = zoo.add(folder, "mine").read_bytes()
    with pytest.raises(CheckpointError):
        zoo.add(write_matgl(tmp_path / "odd", tensors={}), "mine")
    assert zoo.verify("mine").read_bytes() == content


@pytest.mark.parametrize("way", ["bit", "empty", "unsealed"])
def test_rot(capsys, folder, way):
    path = Zoo().add(folder, "mine")
    if way == "bit":
        *content, last = path.read_bytes()
        path.write_bytes(bytes([*content, last ^ 1]))
    elif way == "empty":
        path.write_bytes(b"")
    else:
        seal_path(path).unlink()
    for verb in ("verify", "pull"):
        status, out, err = run(capsys, "zoo", verb, "mine")
        assert (status, out) == (1, "")
        assert "mine is damaged" in err
        assert "halocline zoo import PATH --name mine" in err
    with pytest.raises(ZooError, match="damaged"):
        halocline.load("mine")
    assert run(capsys, "zoo", "list")[0] == 0
    Zoo().add(folder, "mine")
    assert run(capsys, "zoo", "verify", "mine")[0] == 0


@pytest.mark.parametrize("words", [("import",), ("import", "x"), ("import", "--name", "mine")])
def test_wrong_calls(capsys, words):
    status, out, err = run(capsys, "zoo", *words)
    assert (status, out) == (2, "")
    assert err.startswith("halocline: ")
