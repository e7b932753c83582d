"""A mirror takes the place of every host; what it holds is checked like a download."""

import pytest
from foreign_files import write_matgl
from zoo_foreign_models import energies, foreign_fields, write_foreign_index
from zoo_models import CONTENT, STORED, files, write_index
from zoo_server import serve

from halocline.errors import ZooError
from halocline.zoo.fetch import mirrored
from halocline.zoo.source import Local, Remote
from halocline.zoo.store import Zoo

URL = "https://example.org/a/b%20c/model.safetensors?x=1"


@pytest.fixture(autouse=True)
def cache(cache, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    return cache


@pytest.mark.parametrize(
    ("mirror", "found"),
    [
        ("", Remote(URL)),
        ("https://mirror.example", Remote("https://mirror.example/a/b%20c/model.safetensors?x=1")),
        (
            "https://mirror.example/halocline/",
            Remote("https://mirror.example/halocline/a/b%20c/model.safetensors?x=1"),
        ),
        ("http://localhost:80", Remote("http://localhost:80/a/b%20c/model.safetensors?x=1")),
    ],
)
def test_addresses(monkeypatch, mirror, found):
    monkeypatch.setenv("HALOCLINE_MIRROR", mirror)
    assert mirrored(Remote(URL)) == found


@pytest.mark.parametrize("prefix", ["", "file:"])
def test_folders(monkeypatch, tmp_path, prefix):
    monkeypatch.setenv("HALOCLINE_MIRROR", f"{prefix}{tmp_path}/")
    assert mirrored(Remote(URL)) == Local(tmp_path / "a" / "b c" / "model.safetensors")


def test_local_sources_have_no_mirror(monkeypatch, tmp_path):
    monkeypatch.setenv("HALOCLINE_MIRROR", "https://mirror.example")
    assert mirrored(Local(tmp_path)) == Local(tmp_path)


@pytest.mark.parametrize("mirror", ["mirror", "../up", "/a/../b", "http://mirror.example", "ftp://mirror.example"])
def test_what_is_no_mirror(monkeypatch, mirror):
    monkeypatch.setenv("HALOCLINE_MIRROR", mirror)
    with pytest.raises(ZooError, match="HALOCLINE_MIRROR"):
        mirrored(Remote(URL))


@pytest.mark.parametrize("path", ["/../secret", "/a/%2e%2e/%2e%2e/secret"])
def test_a_path_cannot_leave_the_folder(monkeypatch, tmp_path, path):
    monkeypatch.setenv("HALOCLINE_MIRROR", str(tmp_path))
    with pytest.raises(ZooError, match=r"without '\.\.'"):
        mirrored(Remote(f"https://example.org{path}"))


def test_a_checkpoint_from_a_folder_needs_no_network(monkeypatch, tmp_path, cache):
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("HALOCLINE_MIRROR", str(folder))
    zoo = Zoo(write_index(tmp_path))
    with pytest.raises(ZooError, match=f"There is no file {folder}/model.safetensors"):
        zoo.pull("model")
    (folder / "model.safetensors").write_bytes(b"?" + CONTENT[1:])
    with pytest.raises(ZooError, match="SHA-256"):
        zoo.pull("model")
    (folder / "model.safetensors").write_bytes(CONTENT)
    assert zoo.path("model").read_bytes() == CONTENT
    assert files(cache) == {STORED}


def test_a_mirror_behind_an_address_is_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HALOCLINE_MIRROR", "https://mirror.example")
    with pytest.raises(ZooError, match=r"HALOCLINE_OFFLINE.*https://mirror\.example/model\.safetensors"):
        Zoo(write_index(tmp_path)).pull("model")


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_a_model_of_another_package(monkeypatch, tmp_path, kind):
    folder = write_matgl(tmp_path / "mirror")
    fields = foreign_fields(folder, source="https://example.org/a/", energies=energies(folder))
    zoo = Zoo(write_foreign_index(tmp_path, fields))
    with serve() as server:
        if kind == "folder":
            (tmp_path / "a").symlink_to(folder)
            monkeypatch.setenv("HALOCLINE_MIRROR", str(tmp_path))
        else:
            server.files = {f"/m/a/{file.name}": file.read_bytes() for file in folder.iterdir()}
            monkeypatch.setenv("HALOCLINE_MIRROR", server.url("m"))
            monkeypatch.delenv("HALOCLINE_OFFLINE")
        assert zoo.path("model") == zoo.verify("model")
        assert len(server.ranges) == (2 if kind == "address" else 0)
