"""What somebody else has put where models are looked for is not taken for a model that was stored there."""

import hashlib
import logging
import os
import shutil

import pytest
from foreign_files import write_matgl
from zoo_foreign_models import energies, foreign_fields, write_foreign_index
from zoo_models import CONTENT, STORED, files, write_index
from zoo_server import serve

from halocline.cli.main import main
from halocline.errors import ZooError
from halocline.zoo import imported
from halocline.zoo.cache import seal_path
from halocline.zoo.store import Zoo

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
NOBODY = 65534


@pytest.fixture(autouse=True)
def cache(cache):
    """An empty cache, and no warning given yet."""
    imported._warn_once.cache_clear()
    return cache


@pytest.fixture
def foreign(tmp_path):
    """A zoo with a model that is converted."""
    origin = write_matgl(tmp_path / "origin")
    return Zoo(write_foreign_index(tmp_path, foreign_fields(origin, energies=energies(origin))))


@pytest.fixture
def pinned(tmp_path):
    """A zoo with a model that is fetched as it is."""
    (tmp_path / "model.safetensors").write_bytes(CONTENT)
    return Zoo(write_index(tmp_path, source=f"file:{tmp_path}/model.safetensors"))


def plant(path, source):
    """Put a model in the place of another, with a digest of its own."""
    shutil.copyfile(source, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    seal_path(path).write_text(f"{digest}  {path.name}\n")


def test_another_model_with_a_good_seal_is_not_the_one_of_the_index(tmp_path, foreign):
    path = foreign.pull("model")
    other = Zoo().path("lennard-jones-argon")
    plant(path, other)
    for use in (foreign.verify, foreign.path):
        with pytest.raises(ZooError, match="converted from other files than those of the index"):
            use("model")
    assert foreign.pull("model") == foreign.verify("model") == path


@pytest.mark.parametrize("where", ["cache", "store"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.chmod(0o666), "has the mode 666, so that others can write to it"),
        (lambda path: seal_path(path).chmod(0o664), "has the mode 664, so that others can write to it"),
        (lambda path: path.parent.chmod(0o1777), "has the mode 1777, so that others can write to it"),
        pytest.param(lambda path: os.chown(path, NOBODY, -1), f"belongs to the user {NOBODY}", marks=AS_ROOT),
        pytest.param(lambda path: os.chown(seal_path(path), NOBODY, -1), f"the user {NOBODY}", marks=AS_ROOT),
        (lambda path: path.symlink_to(path.rename(path.with_name("elsewhere"))), "is a link"),
    ],
    ids=["mode", "mode of the seal", "mode of the folder", "owner", "owner of the seal", "link"],
)
def test_a_converted_model_that_others_may_have_made(tmp_path, cache, foreign, monkeypatch, where, change, reason):
    path = foreign.pull("model")
    if where == "store":
        path = cache.rename(tmp_path / "store") / path.name
        monkeypatch.setenv("HALOCLINE_MODEL_PATH", str(tmp_path / "store"))
    assert foreign.path("model") == path
    change(path)
    for use in (foreign.verify, foreign.path):
        with pytest.raises(ZooError, match=reason):
            use("model")


@AS_ROOT
def test_the_keeper_of_a_store_is_trusted(tmp_path, cache, foreign, monkeypatch):
    path = foreign.pull("model")
    store = cache.rename(tmp_path / "store")
    monkeypatch.setenv("HALOCLINE_MODEL_PATH", str(store))
    for each in (store, *store.iterdir()):
        os.chown(each, NOBODY, -1)
    assert foreign.path("model") == store / path.name


def test_a_bad_file_hides_no_good_one(tmp_path, cache, pinned, foreign, monkeypatch):
    stores = [tmp_path / "first", tmp_path / "second"]
    converted = foreign.pull("model")
    for store in stores:
        shutil.copytree(cache, store)
        (store / STORED).write_bytes(CONTENT)
    monkeypatch.setenv("HALOCLINE_MODEL_PATH", os.pathsep.join(map(str, stores)))
    damaged = bytes(len(CONTENT))
    shutil.rmtree(cache)
    cache.mkdir(mode=0o700)
    for folder in (stores[0], cache):
        (folder / STORED).write_bytes(damaged)
        plant(folder / converted.name, Zoo().path("lennard-jones-argon"))
    assert pinned.path("model") == pinned.pull("model") == stores[1] / STORED
    assert foreign.path("model") == foreign.pull("model") == stores[1] / converted.name


def link(path, victim):
    path.symlink_to(victim)


def hard_link(path, victim):
    path.hardlink_to(victim)


@pytest.mark.parametrize("plant_link", [link, hard_link])
@pytest.mark.parametrize("ending", [".part", ".validator"])
def test_partial_files_follow_no_link(tmp_path, cache, plant_link, ending):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    cache.mkdir(mode=0o700)
    plant_link((cache / STORED).with_suffix(ending), victim)
    with serve() as server:
        zoo = Zoo(write_index(tmp_path, source=server.url("good")))
        assert zoo.pull("model").read_bytes() == CONTENT
    assert victim.read_text() == "precious"
    assert files(cache) == {STORED}


def test_originals_follow_no_link(tmp_path, cache, foreign):
    path = foreign.pull("model")
    path.unlink()
    (tmp_path / "victim").mkdir()
    path.with_suffix(".originals").symlink_to(tmp_path / "victim")
    with pytest.raises(ZooError, match="originals is no folder"):
        foreign.pull("model")
    assert files(tmp_path / "victim") == set()


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_nothing_is_stored_where_others_can_write(cache, pinned, foreign, mode):
    cache.mkdir()
    cache.chmod(mode)
    for zoo in (pinned, foreign):
        with pytest.raises(ZooError, match=f"has the mode {mode:o}, so that others can write to it"):
            zoo.pull("model")
    assert files(cache) == set()


def test_what_is_there_is_used_without_a_lock(cache, pinned, foreign, monkeypatch):
    paths = [pinned.pull("model"), foreign.pull("model")]
    monkeypatch.setattr("halocline.locks.FileLock", None)
    assert [pinned.pull("model"), foreign.pull("model")] == paths
    assert [pinned.path("model"), foreign.path("model")] == paths


def test_what_only_looks_like_an_imported_model_is_passed_over(tmp_path, cache, capsys, caplog):
    assert main(["zoo", "import", str(write_matgl(tmp_path / "origin")), "--name", "mine"]) == 0
    folder = cache / "imported"
    (folder / "dangling.safetensors").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "folder.safetensors").mkdir()
    with caplog.at_level(logging.WARNING):
        names = Zoo().names()
    assert "mine" in names
    assert not {"dangling", "pipe", "folder"} & set(names)
    said = "\n".join(record.getMessage() for record in caplog.records)
    for name, what in [("dangling", "is a link"), ("pipe", "is no file"), ("folder", "is no file")]:
        assert f"{folder / name}.safetensors {what}; it is passed over." in said
    capsys.readouterr()
    assert main(["zoo", "list", "--json"]) == 0


def test_models_can_be_copied_for_others(cache, pinned, foreign):
    before = os.umask(0o002)
    try:
        paths = [pinned.pull("model"), foreign.pull("model")]
    finally:
        os.umask(before)
    for path in [*paths, seal_path(paths[1])]:
        assert path.stat().st_mode & 0o777 == 0o644
