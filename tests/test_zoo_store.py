"""Models are found where they are, checked before they are used, and written nowhere else."""

import json
import os
import socket
import subprocess
import sys

import pytest
from zoo_models import CONTENT, STORED, files, write_index

import halocline
from halocline.cli.main import main
from halocline.errors import UsageError, ZooError
from halocline.zoo.store import Zoo

ARGON = "lennard-jones-argon"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache inside the test's folder, and a machine without network."""
    for name in ("HALOCLINE_OFFLINE", "HALOCLINE_MODEL_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    return tmp_path / "cache"


@pytest.fixture
def local(tmp_path):
    """A zoo whose model comes from a file."""
    origin = tmp_path / "origin" / "model.safetensors"
    origin.parent.mkdir()
    origin.write_bytes(CONTENT)
    return Zoo(write_index(tmp_path, source=f"file:{origin}"))


def test_a_shipped_model_needs_neither_network_nor_cache(cache):
    assert halocline.load(ARGON).species == ("Ar",)
    assert Zoo().path(ARGON) == Zoo().pull(ARGON) == Zoo().verify(ARGON)
    assert not cache.exists()


def test_the_default_is_a_model_that_ships():
    assert Zoo().present(Zoo().default)


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(UsageError, match=ARGON):
        Zoo().path("lennard-jones-aragon")
    with pytest.raises(UsageError, match=f"did you mean '{ARGON}'"):
        Zoo().path("arogn")  # one of the words is enough


def test_a_local_source_is_copied_into_the_cache(local, cache):
    assert not local.present("model")
    assert local.path("model") == cache / STORED
    assert (cache / STORED).read_bytes() == CONTENT
    assert local.present("model")
    assert files(cache) == {STORED}


def test_a_file_that_is_not_the_model_is_not_taken(local, tmp_path, cache):
    other = tmp_path / "other"
    for content, named in ((CONTENT[1:], "bytes"), (b"?" + CONTENT[1:], "SHA-256")):
        other.write_bytes(content)
        with pytest.raises(ZooError, match=named):
            local.pull("model", other)
    with pytest.raises(ZooError, match="There is no file"):
        local.pull("model", tmp_path / "none")
    assert files(cache) == set()


def test_offline_opens_no_socket_and_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    zoo = Zoo(write_index(tmp_path))
    with pytest.raises(ZooError, match=r"https://example\.org/model.safetensors.*zoo pull model --from") as error:
        zoo.path("model")
    assert "HALOCLINE_OFFLINE" in str(error.value)
    (tmp_path / "carried").write_bytes(CONTENT)
    zoo.pull("model", tmp_path / "carried")
    assert zoo.path("model").read_bytes() == CONTENT


@pytest.mark.parametrize("name", [STORED, "model.safetensors"])
def test_shared_stores_are_read_and_never_written(tmp_path, monkeypatch, cache, name):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / name).write_bytes(CONTENT)
    monkeypatch.setenv("HALOCLINE_MODEL_PATH", os.pathsep.join([str(tmp_path / "none"), "", str(shared)]))
    zoo = Zoo(write_index(tmp_path))
    assert zoo.present("model")
    assert zoo.path("model") == zoo.pull("model") == zoo.verify("model") == shared / name
    assert files(shared) == {name}
    assert not cache.exists()


def test_another_version_in_a_shared_store_does_not_count(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"?" + CONTENT[1:])
    monkeypatch.setenv("HALOCLINE_MODEL_PATH", str(tmp_path))
    assert not Zoo(write_index(tmp_path)).present("model")


@pytest.mark.parametrize("rot", [b"?" + CONTENT[1:], CONTENT[:-1], b""], ids=["bit", "cut", "empty"])
def test_rot_is_found_and_repaired(local, cache, rot):
    local.pull("model")
    (cache / STORED).write_bytes(rot)
    for use in (local.verify, local.path):
        with pytest.raises(ZooError, match=r"damaged.*zoo pull model"):
            use("model")
    local.pull("model")
    assert local.verify("model").read_bytes() == CONTENT


def test_rot_in_a_shared_store_is_repaired_in_the_cache(local, tmp_path, cache, monkeypatch):
    (tmp_path / STORED).write_bytes(b"?" + CONTENT[1:])
    monkeypatch.setenv("HALOCLINE_MODEL_PATH", str(tmp_path))
    with pytest.raises(ZooError, match="damaged"):
        local.path("model")
    assert local.pull("model") == local.path("model") == cache / STORED


def test_a_damaged_shipped_file_is_not_used(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.safetensors").write_bytes(CONTENT[:-1])
    with pytest.raises(ZooError, match="install Halocline anew"):
        Zoo(write_index(tmp_path, source="shipped:model.safetensors")).path("model")


def test_verify_asks_for_a_pull_first(local):
    with pytest.raises(ZooError, match="zoo pull model"):
        local.verify("model")


def test_nothing_is_written_outside_the_cache(local, tmp_path, cache):
    before = files(tmp_path)
    local.path("model")
    assert files(tmp_path) - before == {f"cache/{STORED}"}


def test_importing_and_listing_write_nothing(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    program = "import halocline.zoo.store; from halocline.cli.main import main; main(['zoo', 'list'])"
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-c", program], check=True, env=environment, capture_output=True, cwd=home, timeout=60
    )
    assert list(home.iterdir()) == []


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(["zoo", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_list_as_json(capsys):
    status, out, err = run(capsys, "list", "--json")
    models = {model["name"]: model for model in json.loads(out)}
    assert (status, err) == (0, "")
    assert list(models) == Zoo().names()
    fields = {"name", "backbone", "species", "source", "size", "sha256", "licences", "present"}
    assert fields <= set(models[ARGON])
    assert models[ARGON]["present"] is True
    assert models[ARGON]["species"] == ["Ar"]


@pytest.mark.parametrize("verb", [("list",), ("show", ARGON), ("verify", ARGON), ("pull", ARGON)])
def test_verbs_for_people(capsys, verb):
    status, out, _ = run(capsys, *verb)
    assert status == 0
    assert ARGON in out


def test_show_has_licences_citation_and_card(capsys):
    _, out, _ = run(capsys, "show", ARGON)
    assert all(word in out for word in ("Apache-2.0", "Rahman", "level_of_theory", "epsilon"))
    _, out, _ = run(capsys, "show", ARGON, "--json")
    assert json.loads(out)["card"]["name"] == ARGON


def test_path_prints_the_path_alone(capsys):
    assert run(capsys, "path", ARGON)[:2] == (0, f"{Zoo().path(ARGON)}\n")


@pytest.mark.parametrize(("arguments", "status"), [(("show", "argon"), 2), ((), 2), (("pull",), 2)])
def test_wrong_calls(capsys, arguments, status):
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (status, "")
    assert err.startswith("halocline: ")
