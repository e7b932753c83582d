"""The published potentials of MatGL, as the index has them."""

import json

import numpy as np
import pytest
from oracles.m3gnet.records import FOLDER, read_answers, read_structures
from real_data import real_data

import halocline
from halocline.cli.main import main
from halocline.zoo.index import read_index
from halocline.zoo.store import Zoo

#: Name in the zoo → name among the answers of MatGL, and which structures those are of.
ANSWERS = {
    "m3gnet-matpes-pbe": ("matpes-pbe", "universal"),
    "m3gnet-matpes-r2scan": ("matpes-r2scan", "universal"),
    "m3gnet-mp-2021": ("mp-2021", "universal"),
    "m3gnet-ani-1x": ("ani-1x", "organic"),
}
FOREIGN = read_index().entries


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    for name in ("HALOCLINE_MODEL_PATH", "HALOCLINE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ANSWERS)
def test_reference_energies_are_the_package_s_own(name):
    """So that a fault of our converter cannot have made them."""
    answers, structures = (
        read_answers(FOLDER / f"{ANSWERS[name][0]}.npz", "float64"),
        read_structures(FOLDER / f"structures-{ANSWERS[name][1]}.npz"),
    )
    references = FOREIGN[name].origin.references
    assert len(references) >= 2
    for reference in references:
        atoms, theirs = reference.atoms(), structures[reference.name]
        assert list(atoms.symbols) == list(theirs.symbols)
        assert np.array_equal(atoms.positions, theirs.positions)
        assert np.array_equal(atoms.pbc, theirs.pbc)
        assert not theirs.pbc.any() or np.array_equal(atoms.cell, theirs.cell)
        assert reference.energy == answers[reference.name].energy / len(theirs)


@pytest.mark.parametrize("name", ANSWERS)
def test_sources_are_pinned_to_a_commit(name):
    address = FOREIGN[name].address
    assert address.startswith("https://raw.githubusercontent.com/materialsvirtuallab/matgl/")
    assert len(address.split("/")[5]) == 40


@pytest.mark.parametrize("name", ANSWERS)
def test_the_real_weights(capsys, cache, name):
    folder = real_data("checkpoints_matgl") / FOREIGN[name].address.rstrip("/").rpartition("/")[2]
    assert main(["zoo", "pull", name, "--from", str(folder)]) == 0
    captured = capsys.readouterr()
    count = len(FOREIGN[name].origin.references)
    assert f"2 files fetched, converted from matgl, {count} reference energies reproduced" in captured.err
    assert captured.out == f"{Zoo().path(name)}\n"
    potential = halocline.load(name)
    assert set(potential.species) == set(FOREIGN[name].species)
    assert potential.card["licence"]["weights"] == "BSD-3-Clause"
    assert main(["zoo", "verify", name]) == 0
    assert main(["zoo", "show", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (shown["format"], shown["present"]) == ("matgl", True)
    assert {key.partition("_")[0] for key in shown["card"]["errors"]} == {"measured", "published"}


def test_the_wrong_folder(capsys, cache):
    folder = real_data("checkpoints_matgl") / "M3GNet-MP-2021.2.8-PES"
    assert main(["zoo", "pull", "m3gnet-matpes-pbe", "--from", str(folder)]) == 1
    assert "m3gnet-matpes-pbe has 5593" in capsys.readouterr().err
    assert not list(cache.rglob("*.safetensors"))
