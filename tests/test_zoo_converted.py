"""Models of other packages arrive converted and compared with known energies, or not at all."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from ase.data import chemical_symbols
from foreign_files import MATGL_ARGUMENTS, mattersim_constants, mattersim_tensors, write_matgl, write_mattersim
from zoo_foreign_models import STRUCTURES, energies, foreign_fields, write_foreign_index
from zoo_models import files
from zoo_server import serve

import halocline
from halocline.errors import ZooError
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.zoo import converted
from halocline.zoo.cache import seal_path
from halocline.zoo.conversion import check_references
from halocline.zoo.index import read_index
from halocline.zoo.store import Zoo

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def origin(tmp_path):
    """The folder of a small model."""
    return write_matgl(tmp_path / "origin")


@pytest.fixture
def fields(origin):
    """Its entry, with the energies that it has."""
    return foreign_fields(origin, energies=energies(origin))


def zoo_of(tmp_path: Path, fields: dict) -> Zoo:
    return Zoo(write_foreign_index(tmp_path, fields))


def test_a_model_is_converted_verified_and_found(tmp_path, cache, fields):
    zoo, said = zoo_of(tmp_path, fields), []
    assert not zoo.present("model")
    path = zoo.pull("model", say=said.append)
    assert files(cache) == {path.name, seal_path(path).name}
    assert said == [
        "model: 2 files fetched, converted from matgl, 2 reference energies reproduced to 1e-08 eV per atom"
    ]
    assert zoo.present("model")
    assert zoo.path("model") == zoo.verify("model") == path
    potential = halocline.load(path)
    for name, atoms in STRUCTURES.items():
        assert potential(atoms, dtype="float64").energy / len(atoms) == pytest.approx(
            fields["energies"][name], abs=1e-12
        )


def test_the_card_says_where_it_is_from(tmp_path, fields):
    card = halocline.load(zoo_of(tmp_path, fields).pull("model")).card
    assert (card["name"], card["level_of_theory"], card["licence"]) == ("model", "none", fields["licence"])
    assert card["errors"] == fields["card"]["errors"]
    assert card["recipe"]["source"] == fields["source"]
    assert card["recipe"]["files"] == {file["name"]: file["sha256"] for file in fields["files"]}


def test_nothing_is_fetched_twice(tmp_path, origin, fields):
    zoo, said = zoo_of(tmp_path, fields), []
    path = zoo.pull("model")
    shutil.rmtree(origin)
    assert zoo.pull("model", say=said.append) == path
    assert said == []


def test_an_interrupted_transfer_goes_on(tmp_path, cache, origin, fields):
    with serve() as server:
        server.files = {f"/a/{file.name}": file.read_bytes() for file in origin.iterdir()}
        server.cut = {"/a/state.pt"}
        zoo = zoo_of(tmp_path, fields | {"source": server.url("a/")})
        with pytest.raises(ZooError, match="halocline zoo pull model"):
            zoo.pull("model")
        assert not zoo.present("model")
        counts = []
        path = zoo.pull("model", progress=counts.append)
        half = (origin / "state.pt").stat().st_size // 2
        assert server.ranges == [None, None, f"bytes={half}-"]
    assert sum(counts) == (origin / "state.pt").stat().st_size
    assert files(cache) == {path.name, seal_path(path).name}


def damage(path: Path, position: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["model.json", "state.pt"])
@pytest.mark.parametrize("way", ["flipped", "cut", "gone"])
def test_a_wrong_file_is_refused_from_a_folder(tmp_path, cache, origin, fields, name, way):
    other = tmp_path / "other"
    shutil.copytree(origin, other)
    if way == "flipped":
        damage(other / name)
    elif way == "cut":
        (other / name).write_bytes((other / name).read_bytes()[:-1])
    else:
        (other / name).unlink()
    zoo = zoo_of(tmp_path, fields)
    with pytest.raises(ZooError, match={"flipped": "SHA-256", "cut": "bytes", "gone": "There is no file"}[way]):
        zoo.pull("model", other)
    assert not zoo.present("model")
    assert not any(".safetensors" in file for file in files(cache))
    assert zoo.pull("model", origin).is_file()


def test_a_wrong_file_is_refused_from_a_server(tmp_path, cache, origin, fields):
    with serve() as server:
        server.files = {f"/a/{file.name}": file.read_bytes() for file in origin.iterdir()}
        server.files["/a/state.pt"] = server.files["/a/state.pt"][:-1] + b"?"
        with pytest.raises(ZooError, match=r"thrown away.*SHA-256"):
            zoo_of(tmp_path, fields | {"source": server.url("a/")}).pull("model")
    assert not any(".safetensors" in file or file.endswith("state.pt") for file in files(cache))


def test_one_file_where_two_are_needed(tmp_path, origin, fields):
    with pytest.raises(ZooError, match="2 files, so give the folder"):
        zoo_of(tmp_path, fields).pull("model", origin / "state.pt")


def test_one_file_of_mattersim(tmp_path):
    folder = tmp_path / "mattersim"
    folder.mkdir()
    tensors = mattersim_tensors() | mattersim_constants()
    path = write_mattersim(folder / "model.pth", tensors=tensors)
    fields = foreign_fields(
        folder, format="mattersim", species=chemical_symbols[1:95], energies=energies(path, "mattersim")
    )
    said = []
    assert zoo_of(tmp_path, fields).pull("model", path, say=said.append).name.startswith("mattersim-")
    assert said[0].startswith("model: 1 file fetched, converted from mattersim, 2 reference energies")


def test_offline(tmp_path, monkeypatch, origin, fields):
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    zoo = zoo_of(tmp_path, fields | {"source": "https://example.org/a/"})
    with pytest.raises(ZooError, match=r"OFFLINE.*https://example\.org/a/model\.json.*zoo pull model --from"):
        zoo.path("model")
    zoo.pull("model", origin)
    assert zoo.path("model").is_file()


def refused(tmp_path, cache, fields, named):
    """A model that is fetched but must not be stored leaves nothing behind."""
    zoo = zoo_of(tmp_path, fields)
    with pytest.raises(ZooError, match=named) as error:
        zoo.pull("model")
    message = str(error.value)
    assert message.startswith("model was fetched but not stored: ")
    assert "\n" not in message
    assert not message.endswith("..")
    assert files(cache) == set()
    assert not zoo.present("model")


def test_other_energies_are_refused(tmp_path, cache, fields):
    wrong = fields["energies"] | {"boxed": fields["energies"]["boxed"] + 2e-8}
    refused(tmp_path, cache, fields | {"energies": wrong}, "for the reference 'boxed', where")


def test_energies_with_few_digits(tmp_path, cache, fields):
    """As they are published: they hold as far as they say, and no further."""
    exact = fields["energies"]["water"]
    for name, offset in (("wrong", 2.1e-3), ("right", 1.9e-3)):
        folder = tmp_path / name
        folder.mkdir()
        energies = fields["energies"] | {"water": {"energy": exact + offset, "within": 2e-3}}
        if name == "wrong":
            refused(folder, cache, fields | {"energies": energies}, r"'water', where .* is right to 0\.002")
    said = []
    zoo_of(folder, fields | {"energies": energies}).pull("model", say=said.append)
    assert said[0].endswith("2 reference energies reproduced to 0.002 eV per atom")


def test_each_head_is_compared_with_its_own_energies(tmp_path, origin):
    of_heads = {"water": {"heads": {"PBE": -1.0, "R2SCAN": -2.0}}}
    index = read_index(write_foreign_index(tmp_path, foreign_fields(origin, energies=of_heads)))
    references = index.entries["model"].origin.references
    heads = {"biased": True, "heads": ["PBE", "R2SCAN"], "head_energies": [0.0, 0.0, 1.0, 2.0]}
    config = registry().load("backbone", "nequip").example_config() | heads | {"species": ["H", "O"]}
    potential = Potential(build_backbone("nequip", config), {"H": 0.0, "O": 0.0}, {})
    found = {
        head: potential(STRUCTURES["water"], dtype="float64", head=head).energy / 3 for head in heads["heads"]
    }
    right = tuple(dataclasses.replace(each, energy=found[each.head]) for each in references)
    check_references(potential, right)
    swapped = tuple(dataclasses.replace(each, energy=found["PBE"]) for each in references)
    with pytest.raises(ZooError, match="'water, R2SCAN'"):
        check_references(potential, swapped)


def test_energies_that_are_no_numbers_are_refused(tmp_path, cache, fields, monkeypatch):
    """A comparison with NaN is false, and must not pass for agreement."""
    monkeypatch.setattr("halocline.zoo.index.TOLERANCE", float("nan"))
    refused(tmp_path, cache, fields, "where")


def test_other_species_are_refused(tmp_path, cache, fields):
    refused(tmp_path, cache, fields | {"species": ["H", "N"]}, "m3gnet of H, O, which the zoo's index denies")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"arguments": MATGL_ARGUMENTS | {"temperature": 300}}, "'temperature', whose meaning is not known"),
        ({"arguments": MATGL_ARGUMENTS | {"use_phi": True}}, "'use_phi'"),
        ({"model": "TensorNet"}, "TensorNet"),
        ({"tensors": {}}, "has only 0 tensors"),
    ],
)
def test_models_that_are_not_known_are_refused(tmp_path, cache, changes, named):
    folder = write_matgl(tmp_path / "odd", **changes)
    refused(tmp_path, cache, foreign_fields(folder), named)


@pytest.mark.parametrize("what", ["bit", "cut", "seal gone", "seal changed"])
def test_rot_is_found_and_repaired(tmp_path, fields, what):
    zoo = zoo_of(tmp_path, fields)
    path = zoo.pull("model")
    if what == "bit":
        damage(path, 4000)
    elif what == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif what == "seal gone":
        seal_path(path).unlink()
    else:
        damage(seal_path(path), 0)
    for use in (zoo.verify, zoo.path):
        with pytest.raises(ZooError, match=r"model is damaged.*zoo pull model"):
            use("model")
    assert zoo.pull("model") == zoo.verify("model") == path


def test_a_failure_of_the_disk_leaves_nothing(tmp_path, cache, fields, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("halocline.zoo.conversion.seal", fail)
    with pytest.raises(ZooError, match=r"No space left.*HALOCLINE_CACHE_DIR"):
        zoo_of(tmp_path, fields).pull("model")
    assert files(cache) == set()


def test_shared_stores(tmp_path, cache, fields, monkeypatch):
    zoo = zoo_of(tmp_path, fields)
    path = zoo.pull("model")
    shared = tmp_path / "shared"
    shutil.move(cache, shared)
    monkeypatch.setenv("HALOCLINE_MODEL_PATH", str(shared))
    assert zoo.path("model") == zoo.pull("model") == shared / path.name
    assert not cache.exists()
    damage(shared / path.name)
    with pytest.raises(ZooError, match="damaged"):
        zoo.path("model")
    assert zoo.pull("model") == zoo.path("model") == path
    shutil.rmtree(cache)
    seal_path(shared / path.name).unlink()
    assert not zoo.present("model")


def test_another_way_of_converting_gives_another_file(tmp_path, fields, monkeypatch):
    zoo = zoo_of(tmp_path, fields)
    path = zoo.pull("model")
    monkeypatch.setattr(converted, "VERSION", converted.VERSION + 1)
    assert not zoo.present("model")
    assert zoo.pull("model") != path


def test_the_seal_is_that_of_sha256sum(tmp_path, fields):
    path = zoo_of(tmp_path, fields).pull("model")
    digest, name = seal_path(path).read_text().split()
    assert (len(digest), name) == (64, path.name)


def test_what_is_known_before_it_is_fetched(tmp_path, fields):
    entry = zoo_of(tmp_path, fields).entry("model")
    assert entry.size == sum(file["size"] for file in fields["files"])
    assert json.dumps(fields["energies"]) == json.dumps({r.name: r.energy for r in entry.origin.references})


def test_files_are_found_in_the_only_folder_below(tmp_path, origin, fields):
    parent = tmp_path / "parent"
    shutil.copytree(origin, parent / "some" / "where")
    (parent / "some" / "model.json").write_text("of another model, without its weights")
    (parent / "round").symlink_to(parent)
    assert zoo_of(tmp_path, fields).pull("model", parent).is_file()


def test_of_several_folders_below_none_is_taken(tmp_path, origin, fields):
    parent = tmp_path / "parent"
    for name in ("one", "two"):
        shutil.copytree(origin, parent / name)
    with pytest.raises(ZooError, match=rf"2 folders below.*name one of them: {parent}/one, {parent}/two"):
        zoo_of(tmp_path, fields).pull("model", parent)


def test_of_several_models_below_that_of_the_index_is_taken(tmp_path, origin, fields):
    """Whose folders are all alike but for what is in their files."""
    parent = tmp_path / "parent"
    for name in ("another", "model", "third"):
        shutil.copytree(origin, parent / name)
        if name != "model":
            (parent / name / "model.json").write_text(f"of {name}")
    assert zoo_of(tmp_path, fields).pull("model", parent).is_file()


def test_of_other_models_below_none_is_taken(tmp_path, origin, fields):
    parent = tmp_path / "parent"
    for name in ("one", "two"):
        shutil.copytree(origin, parent / name)
        (parent / name / "model.json").write_text("of another model")
    with pytest.raises(ZooError, match=rf"none of them the model's; name one of them: {parent}/one, {parent}/two"):
        zoo_of(tmp_path, fields).pull("model", parent)
