"""Compiled programs are built once, checked at every use, and built again when they are damaged."""

import json
import logging
import threading
import time

import pytest
import torch
from zoo_models import files

from halocline.aggregation import Form
from halocline.artefacts import cached, machine_key, program_key
from halocline.errors import ArtefactError
from halocline.lowering import lower
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.program import Precision, Program

KEY = {"program": "a", "machine": "here"}


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


def test_an_artefact_is_built_once(build, cache):
    first, second = cached(KEY, ".pt2", build), cached(KEY, ".pt2", build)
    assert (first, build.built) == (second, 1)
    assert first.read_bytes() == b"code"
    assert files(cache) == {first.name, first.with_suffix(".json").name}


def test_the_record_says_what_it_is(build):
    record = json.loads(cached(KEY, ".pt2", build).with_suffix(".json").read_text())
    assert record["key"] == KEY


@pytest.mark.parametrize("other", [{"program": "b"}, {"machine": "there"}, {"more": ""}])
def test_another_key_is_another_artefact(build, other):
    assert cached(KEY, ".pt2", build) != cached(KEY | other, ".pt2", build)
    assert build.built == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"kode"),
        lambda path: path.write_bytes(b""),
        lambda path: path.with_suffix(".json").unlink(),
        lambda path: path.with_suffix(".json").write_text("{}"),
    ],
    ids=["changed", "empty", "no record", "other record"],
)
def test_a_damaged_artefact_is_built_again(build, damage, caplog):
    damage(cached(KEY, ".pt2", build))
    with caplog.at_level(logging.WARNING):
        path = cached(KEY, ".pt2", build)
    assert (build.built, path.read_bytes()) == (2, b"code")
    assert [record.getMessage() for record in caplog.records] == [
        f"The compiled program {path} is damaged; it is built again."
    ]
    caplog.clear()
    cached(KEY, ".pt2", build)
    assert (build.built, caplog.records) == (2, [])


def test_a_build_that_fails_leaves_nothing(cache):
    def fail(path):
        path.write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached(KEY, ".pt2", fail)
    assert files(cache) == set()


def test_one_builds_while_others_wait(build):
    started = threading.Event()

    def slowly(path):
        started.set()
        time.sleep(0.2)  # for the second to come in, were it not kept out
        build(path)

    first = threading.Thread(target=cached, args=(KEY, ".pt2", slowly))
    first.start()
    started.wait()
    cached(KEY, ".pt2", build)
    first.join()
    assert build.built == 1


def test_a_folder_that_cannot_be_written_is_named(build, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ArtefactError, match="HALOCLINE_CACHE_DIR names another folder"):
        cached(KEY, ".pt2", build)


def test_a_machine_has_one_key(monkeypatch):
    here = machine_key()
    assert here == machine_key()
    assert set(here) == {"halocline", "torch", "python", "platform", "cpu", "gpu", "compiler"}
    known = torch.cpu.get_capabilities()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known | {"sse4_1": not known["sse4_1"]})
    assert machine_key()["cpu"] != here["cpu"]


def test_programs_differ_by_weights_precision_and_operations():
    def key(name, precision=Precision.FLOAT32, seed=0, **changes):
        config = registry().load("backbone", name).example_config() | changes
        return program_key(lower(Program.freeze(build_backbone(name, config, seed), precision, Form.EDGES)))

    same = key("schnet", layers=1)
    assert same == key("schnet", layers=1)
    others = [
        key("schnet", layers=1, seed=1),
        key("schnet", layers=2),
        key("schnet", Precision.FLOAT64, layers=1),
        key("lennard-jones"),
    ]
    assert len({json.dumps(each) for each in (same, *others)}) == 5
