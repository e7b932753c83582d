"""An index says exactly what it must, and nothing in it can lead outside the store."""

import math
import tomllib
from pathlib import Path

import pytest
from foreign_files import write_matgl
from zoo_foreign_models import foreign_fields, write_foreign_index
from zoo_models import CONTENT, write_index

from halocline.checkpoint import read_header
from halocline.errors import ZooError
from halocline.zoo.entry import Pinned
from halocline.zoo.index import SHIPPED_INDEX, read_index
from halocline.zoo.recipes.lennard_jones_argon import ARGON
from halocline.zoo.source import Local, Remote, Shipped, parse_source
from halocline.zoo.store import Zoo


def test_the_shipped_index_agrees_with_its_files():
    index = read_index()
    for entry in index.entries.values():
        if isinstance(entry.origin, Pinned) and isinstance(entry.origin.source, Shipped):
            header = read_header(Zoo().verify(entry.name))
            assert header.backbone == entry.backbone
            assert set(header.reference_energies) == set(entry.species)
            assert header.card["name"] == entry.name
            assert header.card["licence"] == entry.licences
            assert header.card["citation"] == list(entry.citation)


def test_every_shipped_file_is_in_the_index():
    index = read_index()
    sources = [entry.origin.source for entry in index.entries.values() if isinstance(entry.origin, Pinned)]
    listed = {source.file for source in sources if isinstance(source, Shipped)}
    assert {path.name for path in index.data.iterdir()} == listed


def test_the_index_is_one_table_per_model():
    assert set(tomllib.loads(SHIPPED_INDEX.read_text(encoding="utf-8"))) == {
        "default",
        "structures",
        "models",
    }


def test_argon_has_the_parameters_of_rahman():
    header = read_header(Zoo().path("lennard-jones-argon"))
    assert header.config == ARGON.config
    kelvin = header.config["epsilon"][0] / 8.617333262e-5
    assert math.isclose(kelvin, 120.0, rel_tol=1e-9)  # Boltzmann's constant was rounded to ten digits
    assert header.config["sigma"] == [3.4]


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("shipped:a-b_1.safetensors", Shipped("a-b_1.safetensors")),
        ("https://example.org/a/b?c=d", Remote("https://example.org/a/b?c=d")),
        ("http://127.0.0.1:8000/a", Remote("http://127.0.0.1:8000/a")),
        ("http://localhost/a", Remote("http://localhost/a")),
        ("http://[::1]:80/a", Remote("http://[::1]:80/a")),
        ("file:/srv/a.safetensors", Local(Path("/srv/a.safetensors"))),
        ("file:///srv/a.safetensors", Local(Path("/srv/a.safetensors"))),
        ("hf:o/r/d/f.safetensors@main", Remote("https://huggingface.co/o/r/resolve/main/d/f.safetensors")),
    ],
)
def test_sources(monkeypatch, text, source):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert parse_source(text) == source


def test_the_endpoint_of_hugging_face_can_be_a_mirror_but_not_an_open_one(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert parse_source("hf:o/r/f@v1") == Remote("https://mirror.example/o/r/resolve/v1/f")
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    with pytest.raises(ZooError, match="not encrypted"):
        parse_source("hf:o/r/f@v1")


@pytest.mark.parametrize(
    "text",
    [
        "", "a.safetensors", "shipped:", "shipped:../a", "shipped:a/b", "shipped:/a", "shipped:C:a",
        "shipped:a\\b", "shipped:a\0b", "shipped:.a", "shipped:a\n", "https://", "https://example.org",
        "https:/example.org/a", "https://user:secret@example.org/a", "https://example.org/a b", "https://example.org/å",
        "https://[/a", "https://example.org/a\r\nHost: b", "http://example.org/a",
        "http://127.0.0.1.example.org/a",
        "http://localhost.example.org/a", "ftp://example.org/a", "HTTPS://example.org/a", "hf:o/r/f",
        "hf:o/r@main", "hf:o/../r/f@main", "hf:o/r/../f@main", "hf:o/r/f@../x", "hf:o/r//f@main", "file:a",
        "file:", "file:/a/../b", "file:/a\0b", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_hostile_sources(text):
    with pytest.raises(ZooError):
        parse_source(text)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../model", "/model", "a/b", "a\\b", "C:model", "a\0b", "a b", "Model", "-model", ".model",
        "model.", "a..b", "a\n", "con", "nul.x", "com1", "modèle", "~", "$HOME",
    ],
)  # fmt: skip
def test_hostile_names(tmp_path, name):
    with pytest.raises(ZooError, match="cannot name a model"):
        read_index(write_index(tmp_path, name))


@pytest.mark.parametrize(
    "change",
    [{"elements_volume_error": -1}, {"elements_no_minimum": 1.5}, {"elements_not_known": True}, {"colour": 1}],
    ids=str,
)
def test_faulty_audits(tmp_path, change):
    sound = {"elements_volume_error": 1.0, "elements_bulk_modulus_error": 10, "elements_no_minimum": 1}
    sound |= {"elements_not_known": 2, "compounds_volume_error": 0.5, "compounds_no_minimum": 0}
    index = read_index(write_index(tmp_path, audit=sound))
    assert index.universal == "model"
    assert index.entries["model"].audit.elements_not_known == 2
    with pytest.raises(ZooError, match="audit of the model 'model'"):
        read_index(write_index(tmp_path, audit=sound | change))


@pytest.mark.parametrize("name", ["a", "schnet", "water-revpbe0d3-schnet", "v1.2_b", "console"])
def test_good_names(tmp_path, name):
    assert list(read_index(write_index(tmp_path, name)).entries) == [name]


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": ...}, {"sha256": "0" * 63}, {"sha256": "F" * 64}, {"sha256": "../" + "0" * 61},
        {"size": 0}, {"size": -1}, {"size": True}, {"size": "1"}, {"species": []}, {"species": "Ar"},
        {"species": ["argon"]}, {"licence": "MIT"}, {"licence": {"code": "MIT"}}, {"summary": ""},
        {"summary": "\x1b[2J"}, {"citation": "one"}, {"mirror": "https://example.org/a"}, {"source": 1},
        {"backbone": ...},
    ],
    ids=str,
)  # fmt: skip
def test_faulty_entries(tmp_path, change):
    with pytest.raises(ZooError, match="'model'"):
        read_index(write_index(tmp_path, **change))


@pytest.mark.parametrize(
    "text",
    ["", "default = 'a'", "models = 1", "not toml", "default = 'b'\n[models]", "default = []\n[models]", "\xff"],
)
def test_faulty_files(tmp_path, text):
    path = tmp_path / "index.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ZooError, match=r"index\.toml"):
        read_index(path)


def test_an_entry_keeps_what_was_written(tmp_path):
    entry = read_index(write_index(tmp_path)).entries["model"]
    assert (entry.size, entry.species, entry.licences["weights"]) == (len(CONTENT), ("Ar",), "CC0-1.0")
    assert entry.address == "https://example.org/model.safetensors"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "mace"}, {"format": 1}, {"size": 1}, {"files": []}, {"files": ["model.json"]},
        {"source": "https://example.org/a"}, {"source": "hf:o/r/f@main"}, {"source": "shipped:a"},
        {"source": "https://example.org/../a b/"}, {"card": {"colour": "red"}}, {"card": {"errors": "none"}},
        {"card": {"name": "other"}}, {"card": ...}, {"energies": {}}, {"energies": {"water": "low"}},
        {"energies": {"water": math.nan}}, {"energies": {"ice": -1.0}}, {"energies": ...}, {"format": "mattersim"},
        {"energies": {"water": {"energy": -1.0}}}, {"energies": {"water": {"energy": -1.0, "within": 0.0}}},
        {"energies": {"water": {"energy": "low", "within": 0.1}}}, {"energies": {"water": {"heads": {}}}},
        {"energies": {"water": {"heads": {"PBE": "low"}}}}, {"energies": {"water": {"heads": -1.0}}},
    ],
    ids=str,
)  # fmt: skip
def test_faulty_entries_of_other_packages(tmp_path, change):
    fields = foreign_fields(write_matgl(tmp_path / "origin"))
    assert list(read_index(write_foreign_index(tmp_path, fields)).entries) == ["model"]
    fields = {key: value for key, value in (fields | change).items() if value is not ...}
    with pytest.raises(ZooError, match=r"'model'|The source"):
        read_index(write_foreign_index(tmp_path, fields))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../state.pt"}, {"name": "a/b"}, {"name": ".."}, {"name": "C:state.pt"}, {"name": "other.pt"},
        {"name": 1}, {"size": 0}, {"sha256": "0"}, {"colour": "red"},
    ],
    ids=str,
)  # fmt: skip
def test_faulty_files_of_other_packages(tmp_path, change):
    fields = foreign_fields(write_matgl(tmp_path / "origin"))
    fields["files"][1] |= change
    with pytest.raises(ZooError, match="'model'"):
        read_index(write_foreign_index(tmp_path, fields))


@pytest.mark.parametrize(
    "text",
    [
        "universal = 'none'\n", "colour = 'red'\n", "structures = 1\n",
        "structures.a = 1\n", "structures.a = {symbols = ['H'], positions = [], cell = []}\n",
        "structures.a = {symbols = ['H'], positions = [[0, 0]], cell = []}\n",
        "structures.a = {symbols = ['H'], positions = [[0, 0, 0]], cell = [[1, 0, 0]]}\n",
        "structures.a = {symbols = ['H'], positions = [[0, 0, nan]], cell = []}\n",
    ],
)  # fmt: skip
def test_faulty_parts_of_an_index(tmp_path, text):
    path = write_index(tmp_path)
    path.write_text(text + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ZooError, match="zoo's index"):
        read_index(path)
