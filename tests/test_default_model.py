"""Whoever names no model gets the default, and hears so where it does not fit."""

import pytest
from ase import Atoms
from ase.io import write

from halocline.cli.main import main
from halocline.zoo.store import Zoo


@pytest.fixture
def salt(tmp_path):
    """A structure that is no water."""
    path = tmp_path / "salt.extxyz"
    write(path, Atoms("NaCl", positions=[[0.0, 0.0, 0.0], [2.8, 0.0, 0.0]], cell=[5.6, 5.6, 5.6], pbc=True))
    return str(path)


@pytest.mark.parametrize(
    "words",
    [("run",), ("md", "--ensemble", "nve", "--steps", "1", "-o", "out"), ("relax", "-o", "out.extxyz")],
    ids=lambda words: words[0],
)
def test_an_element_that_the_default_does_not_know(capsys, tmp_path, monkeypatch, salt, words):
    monkeypatch.chdir(tmp_path)
    assert main([words[0], salt, *words[1:]]) == 1
    err = capsys.readouterr().err
    zoo = Zoo()
    assert "does not know Cl, Na" in err
    assert f"the default was taken, {zoo.default}: {zoo.entry(zoo.default).summary}" in err
    assert "nothing but water" in err
    assert f"halocline zoo pull {zoo.universal}" in err
    assert err.count("\n") == 1


def test_a_model_that_was_named_is_not_the_default(capsys, salt):
    assert main(["run", salt, "-m", Zoo().default]) == 1
    err = capsys.readouterr().err
    assert "does not know Cl, Na" in err
    assert "halocline zoo pull" not in err


def test_other_faults_are_not_the_default_s(capsys, tmp_path):
    path = str(tmp_path / "twice.xyz")
    write(path, Atoms("OO", positions=[[0.0, 0.0, 0.0]] * 2))
    assert main(["run", path]) == 1
    assert "halocline zoo pull" not in capsys.readouterr().err


def test_the_universal_model_knows_what_the_default_does_not():
    zoo = Zoo()
    assert zoo.universal in zoo.names()
    assert len(zoo.entry(zoo.universal).species) == 89
