"""The published potentials of MatGL and MatterSim, as the index has them."""

import json
import math

import numpy as np
import pytest
from foreign_files import MATTERSIM_ARGUMENTS, mattersim_constants, mattersim_tensors, write_mattersim
from oracles.m3gnet.records import FOLDER, read_answers, read_structures
from real_data import real_data

import halocline
from halocline.cli.main import main
from halocline.zoo.foreign.mattersim import mattersim_layout
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
def cache(cache, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    return cache


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
    folder = real_data("checkpoints_matgl")  # which holds a folder for each model
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
    audited = {"audit"} if FOREIGN[name].audit else set()
    assert {key.partition("_")[0] for key in shown["card"]["errors"]} == {"measured", "published"} | audited


def test_the_wrong_folder(capsys, cache):
    folder = real_data("checkpoints_matgl") / "M3GNet-MP-2021.2.8-PES"
    assert main(["zoo", "pull", "m3gnet-matpes-pbe", "--from", str(folder)]) == 1
    assert "m3gnet-matpes-pbe has 5593" in capsys.readouterr().err
    assert not list(cache.rglob("*.safetensors"))


#: Hyper-parameters that tell the two models of MatterSim apart: blocks and width.
MATTERSIM = {"mattersim-1m": (3, 128), "mattersim-5m": (4, 256)}


@pytest.mark.parametrize("name", MATTERSIM)
def test_mattersim_is_pinned(name):
    """The released files are not at hand; what can be said without them is held here."""
    entry = FOREIGN[name]
    assert entry.address.startswith("https://raw.githubusercontent.com/microsoft/mattersim/")
    assert len(entry.address.split("/")[5]) == 40
    assert dict(entry.licences) == {"code": "MIT", "weights": "MIT"}
    (file,) = entry.origin.files
    assert file == f"mattersim-v1.0.0-{name[-2:].upper()}.pth"
    # Such files hold the weights in float32 five times: themselves, two moments of Adam, two averages. Names and
    # the like take less than a hundredth.
    blocks, units = MATTERSIM[name]
    layout = mattersim_layout(MATTERSIM_ARGUMENTS | {"num_blocks": blocks, "units": units})
    weights = sum(math.prod(shape) for key, shape in layout.items() if ".linear." in key)
    assert 5 * 4 * weights < entry.size < 1.01 * 5 * 4 * weights


@pytest.mark.parametrize("name", MATTERSIM)
def test_mattersim_of_that_size(capsys, tmp_path, cache, name):
    """Another file of its shape is not taken for it, and converts to the backbone and elements of the index."""
    blocks, units = MATTERSIM[name]
    arguments = MATTERSIM_ARGUMENTS | {"num_blocks": blocks, "units": units}
    tensors = mattersim_tensors(arguments) | mattersim_constants()
    path = write_mattersim(tmp_path / "seeded.pth", arguments, tensors)
    assert main(["zoo", "pull", name, "--from", str(path)]) == 1
    assert f"{name} has {FOREIGN[name].size}" in capsys.readouterr().err
    assert main(["zoo", "import", str(path), "--name", "seeded"]) == 0
    potential = halocline.load("seeded")
    assert potential.backbone.name == FOREIGN[name].backbone
    assert potential.species == FOREIGN[name].species
