"""Compiled programs are built once, checked at every use, and built again when they are damaged."""

import hashlib
import hmac
import importlib
import inspect
import json
import logging
import os
import threading
import time

import pytest
import torch
from zoo_models import files

from halocline.aggregation import Form
from halocline.artefacts import cached
from halocline.canonical import to_canonical_json
from halocline.errors import ArtefactError
from halocline.lowering import lower
from halocline.lowering.keys import machine_key, program_key
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.plugins.backbones import lennard_jones
from halocline.program import Capabilities, FrozenModel, Precision

KEY = {"program": "a", "machine": "here"}

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "artefacts"


class Builder:
    """Writes some bytes, and counts how often."""

    def __init__(self, content=b"code"):
        self.content, self.built = content, 0

    def __call__(self, path):
        self.built += 1
        path.write_bytes(self.content)


@pytest.fixture
def build():
    return Builder()


def kept(build, key=KEY, load=bytes):
    """What the store gives for a key."""
    return cached(key, ".pt2", build, load, "a test")


def artefact(cache):
    """The path of the only artefact."""
    (path,) = cache.glob("*.pt2")
    return path


def test_an_artefact_is_built_once(build, cache):
    assert [kept(build), kept(build)] == [b"code", b"code"]
    assert build.built == 1
    path = artefact(cache)
    assert files(cache) == {path.name, path.with_suffix(".json").name}


def test_the_record_says_what_it_is(build, cache):
    kept(build)
    record = json.loads(artefact(cache).with_suffix(".json").read_text())
    assert record["key"] == KEY


@pytest.mark.parametrize("other", [{"program": "b"}, {"machine": "there"}, {"more": ""}])
def test_another_key_is_another_artefact(build, other):
    kept(build)
    kept(build, KEY | other)
    assert build.built == 2


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def by_another(path):
    """Replace an artefact as somebody would who knows everything but the secret."""
    record = json.loads(path.with_suffix(".json").read_text())
    signed = to_canonical_json(record["key"]).encode() + hashlib.sha256(b"evil").digest()
    record["hmac-sha256"] = hmac.new(b"", signed, "sha256").hexdigest()
    path.write_bytes(b"evil")
    path.with_suffix(".json").write_text(json.dumps(record, indent=1, sort_keys=True))


def of_another(path):
    """Put an artefact with a good digest in the place of this one."""
    kept(Builder(b"evil"), KEY | {"program": "b"})
    (other,) = set(path.parent.glob("*.pt2")) - {path}
    other.replace(path)
    other.with_suffix(".json").replace(path.with_suffix(".json"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"kode"), "damaged, or was made by somebody else"),
        (lambda path: path.write_bytes(b""), "damaged, or was made by somebody else"),
        (lambda path: path.with_suffix(".json").unlink(), "its digest is missing"),
        (lambda path: path.with_suffix(".json").write_text("{}"), "damaged, or was made by somebody else"),
        (by_another, "damaged, or was made by somebody else"),
        (of_another, "damaged, or was made by somebody else"),
        (lambda path: path.chmod(0o620), "has the mode 620, so that others can write to it"),
        (lambda path: path.with_suffix(".json").chmod(0o606), "has the mode 606, so that others can write to it"),
        (fifo, "is no file"),
        (link, "is a link"),
        (lambda path: link(path.with_suffix(".json")), "is a link"),
        pytest.param(lambda path: os.chown(path, 65534, -1), "belongs to the user 65534", marks=AS_ROOT),
    ],
    ids=[
        "changed", "empty", "no record", "other record", "planted", "moved", "mode", "mode of the record",
        "pipe", "link", "linked record", "owner",
    ],
)  # fmt: skip
def test_what_cannot_be_relied_on_is_built_again(build, cache, damage, reason, caplog):
    kept(build)
    path = artefact(cache)
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert kept(build) == b"code"
    assert build.built == 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"The compiled program {path} is not used, and built again: ")
    assert reason in message
    caplog.clear()
    assert kept(build) == b"code"
    assert (build.built, caplog.records) == (2, [])


def test_one_that_does_not_do_what_it_should_is_built_again(build, caplog):
    kept(build)
    build.content = b"good"

    def load(data):
        if data != b"good":
            raise ArtefactError("It computes something else.")
        return data

    with caplog.at_level(logging.WARNING):
        assert kept(build, load=load) == b"good"
    assert "built again: It computes something else." in caplog.text
    build.content = b"bad"
    with pytest.raises(ArtefactError, match="computes something else"):
        kept(build, KEY | {"more": ""}, load)


def test_the_secret_is_the_users_alone(build, cache):
    kept(build)
    secret = cache.parent / "secret"
    assert (secret.stat().st_mode & 0o777, secret.stat().st_size) == (0o600, 32)
    secret.chmod(0o640)
    with pytest.raises(ArtefactError, match="has the mode 640, so that others can read it; chmod it to 600"):
        kept(build)
    secret.chmod(0o600)
    secret.write_bytes(b"short")
    with pytest.raises(ArtefactError, match="is damaged; remove it"):
        kept(build)
    secret.unlink()
    assert kept(build) == b"code"
    assert build.built == 2


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nobody_else_can_write_whatever_the_umask(build, cache, umask):
    before = os.umask(umask)
    try:
        kept(build)
    finally:
        os.umask(before)
    for path in (cache.parent, *cache.parent.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("place", ["", "artefacts"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: folder.chmod(0o777), "has the mode 777, so that others can write to it; chmod it to 755"),
        (lambda folder: folder.chmod(0o770), "has the mode 770"),
        pytest.param(lambda folder: os.chown(folder, 65534, -1), "belongs to the user 65534", marks=AS_ROOT),
    ],
    ids=["everybody's", "group's", "another's"],
)
def test_a_folder_that_others_can_write_is_refused(build, cache, place, change, reason):
    kept(build)
    folder = cache.parent / place
    change(folder)
    with pytest.raises(ArtefactError, match=f"Cannot keep compiled programs in .*: {folder} {reason}"):
        kept(build)


def test_the_cache_may_be_a_link_of_the_user(build, cache):
    cache.parent.with_name("scratch").mkdir(mode=0o700)
    cache.parent.symlink_to("scratch")
    assert kept(build) == b"code"


@AS_ROOT
def test_the_cache_is_no_link_of_another(build, cache):
    cache.parent.with_name("scratch").mkdir(mode=0o700)
    cache.parent.symlink_to("scratch")
    os.chown(cache.parent, 65534, -1, follow_symlinks=False)
    with pytest.raises(ArtefactError, match="belongs to the user 65534"):
        kept(build)


def test_a_folder_in_the_cache_is_no_link(build, cache):
    cache.parent.mkdir(mode=0o700)
    cache.with_name("victim").mkdir(mode=0o700)
    cache.symlink_to("victim")
    with pytest.raises(ArtefactError, match="artefacts is no folder"):
        kept(build)
    assert files(cache.with_name("victim")) == set()


def test_a_store_that_is_only_read_needs_no_lock(build, cache, monkeypatch):
    kept(build)

    def no_lock(*arguments, **options):
        raise PermissionError("nothing can be written")

    monkeypatch.setattr("halocline.locks.FileLock", no_lock)
    assert kept(build) == b"code"


def test_a_build_that_fails_leaves_nothing(cache):
    def fail(path):
        path.write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept(fail)
    assert files(cache) == set()


def test_one_builds_while_others_wait(build):
    started = threading.Event()

    def slowly(path):
        started.set()
        time.sleep(0.2)  # for the second to come in, were it not kept out
        build(path)

    first = threading.Thread(target=kept, args=(slowly,))
    first.start()
    started.wait()
    kept(build)
    first.join()
    assert build.built == 1


def test_a_folder_that_cannot_be_written_is_named(build, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ArtefactError, match="HALOCLINE_CACHE_DIR names another folder"):
        kept(build)


def test_a_machine_has_one_key(monkeypatch):
    here = machine_key()
    assert here == machine_key()
    assert set(here) == {"halocline", "torch", "python", "platform", "cpu", "gpu", "compiler"}
    known = torch.cpu.get_capabilities()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known | {"sse4_1": not known["sse4_1"]})
    assert machine_key()["cpu"] != here["cpu"]


def key(name, precision=Precision.FLOAT32, seed=0, **changes):
    """Of a program with the example config."""
    config = registry().load("backbone", name).example_config() | changes
    frozen = FrozenModel.freeze(build_backbone(name, config, seed), precision, Capabilities.reference(Form.EDGES))
    return program_key(frozen, lower(frozen))


def test_programs_differ_by_weights_precision_and_operations():
    same = key("schnet", layers=1)
    assert same == key("schnet", layers=1)
    others = [
        key("schnet", layers=1, seed=1),
        key("schnet", layers=2),
        key("schnet", Precision.FLOAT64, layers=1),
        key("lennard-jones"),
    ]
    assert len({json.dumps(each) for each in (same, *others)}) == 5


def test_programs_differ_by_numbers_in_the_source(monkeypatch):
    """In float32 this number is no part of any operation: it is lifted to a buffer, for it would be rounded."""
    same = key("lennard-jones")
    monkeypatch.setattr("halocline.plugins.backbones.lennard_jones.SWITCHED_PART", 0.3)
    assert key("lennard-jones")["constants"] != same["constants"]


def test_programs_differ_by_the_source_of_their_backbone(tmp_path, monkeypatch):
    """A plugin that is installed editably changes under one version."""
    (tmp_path / "edited.py").write_text(inspect.getsource(lennard_jones))
    monkeypatch.syspath_prepend(tmp_path)

    def source():
        kind = importlib.import_module("edited").LennardJones
        frozen = FrozenModel.freeze(
            kind.from_config(kind.example_config()), Precision.FLOAT32, Capabilities.reference(Form.EDGES)
        )
        return program_key(frozen, lower(frozen))["source"]

    before = source()
    with (tmp_path / "edited.py").open("a") as file:
        file.write("# as before\n")
    assert source() != before
    assert key("lennard-jones")["source"] != before
