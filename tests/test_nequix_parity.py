"""Models of Nequix are read whole or refused, and give what that package gives; see `oracles/nequix/README.md`."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import refusal
from oracles.nequix.models import MODELS, PUBLISHED, REFERENCES, structures
from real_data import real_data

import halocline
from halocline.cli.main import main
from halocline.errors import CheckpointError
from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.zoo.conversion import format_of
from halocline.zoo.foreign import read_nequix
from halocline.zoo.foreign.nequix_layout import nequix_layout
from halocline.zoo.imported import import_model
from halocline.zoo.index import read_index

FOLDER = Path(__file__).parent / "oracles" / "nequix"
ANSWERS = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))
ENTRIES = read_index().entries

#: Of one eV, of the largest force and of the largest stress: rounding of sums, in both precisions.
AGREEMENT = {"float64": 1e-10, "float32": 1e-5}

#: The same of published models: upstream's torch backend has couplings in single precision.
PUBLISHED_AGREEMENT = 1e-7

SETTINGS = MODELS["normed"] | {"atom_energies": {"1": -1.0, "6": -2.0, "8": -3.0}}


def require_close(found, answer, agreement):
    assert np.abs(found.energies - answer["energies"]).max() <= agreement
    for ours, theirs in ((found.forces, answer["forces"]), (found.stress, answer["stress"])):
        assert np.abs(ours - theirs).max() <= agreement * np.abs(theirs).max()


@pytest.mark.parametrize("precision", AGREEMENT)
@pytest.mark.parametrize("name", MODELS)
def test_energies_forces_and_stress_are_those_of_the_package(name, precision):
    foreign = read_nequix(FOLDER / "files" / f"{name}.nqx")
    model = build_potential(registry().load("converter", "nequix")(foreign.config, foreign.tensors))
    for case, atoms in structures().items():
        found = model(atoms, dtype=precision, device="cpu")
        require_close(found, ANSWERS[f"{name} {case}"], AGREEMENT[precision])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_pinned_and_compared_with_the_package(name):
    """So that a fault of our converter cannot have made the energies of the index."""
    entry = ENTRIES[name]
    assert len(entry.address.split("/")[5]) == 40
    references = entry.origin.references
    assert tuple(reference.name for reference in references) == REFERENCES
    for reference in references:
        energies = ANSWERS[f"{name} {reference.name}"]["energies"]
        assert reference.energy == pytest.approx(np.mean(energies), abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_real_weights(capsys, cache, monkeypatch, name):
    folder = real_data("checkpoints_nequix")
    monkeypatch.setenv("HALOCLINE_OFFLINE", "1")
    assert main(["zoo", "pull", name, "--from", str(folder)]) == 0
    assert "converted from nequix, 3 reference energies reproduced to 1e-08" in capsys.readouterr().err
    model = halocline.load(name)
    assert model.card["licence"] == {"code": "MIT", "weights": "MIT"}
    rattled = ENTRIES[name].origin.references[-1]
    found = model(rattled.atoms(), dtype="float64", device="cpu")
    require_close(found, ANSWERS[f"{name} {rattled.name}"], PUBLISHED_AGREEMENT)


def arrays(settings=SETTINGS):
    """Arrays for a model of these settings, the same ones each time, by name."""
    channels = [int(term.strip().split("x")[0]) for term in settings["hidden_irreps"].split("+")]
    layout = nequix_layout(
        {
            "species": settings["atomic_numbers"],
            "irreps": channels,
            "layers": settings["n_layers"],
            "lmax": settings["lmax"],
            "bessels": settings["radial_basis_size"],
            "radial_units": [settings["radial_mlp_size"]] * settings["radial_mlp_layers"],
            "normalised": settings["layer_norm"],
        }
    )
    rng = np.random.default_rng(2)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in layout.items()}


def write_nequix(path, settings=SETTINGS, found=None, after=b""):
    """Write a file of Nequix."""
    file = io.BytesIO()
    for array in (arrays() if found is None else found).values():
        np.save(file, array, allow_pickle=True)
    path.write_bytes(json.dumps(settings).encode() + b"\n" + file.getvalue() + after)
    return path


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_file_is_imported(tmp_path, cache):
    path = write_nequix(tmp_path / "m.nqx")
    assert format_of(path) == "nequix"
    import_model(path, "mine")
    model = halocline.load("mine")
    assert model.card["recipe"]["converted_from"] == "nequix"
    assert model.species == ("H", "C", "O")
    expected = arrays()["atom_energies"].astype(float) + SETTINGS["shift"]
    assert [model.reference_energies[symbol] for symbol in model.species] == pytest.approx(expected, abs=1e-12)
    assert np.isfinite(model(structures()["crystal"], dtype="float64", device="cpu").forces).all()


def test_arrays_may_lie_column_after_column(tmp_path):
    rows = read_nequix(write_nequix(tmp_path / "a.nqx"))
    columns = {name: np.asfortranarray(array) for name, array in arrays().items()}
    turned = read_nequix(write_nequix(tmp_path / "b.nqx", found=columns))
    assert (tmp_path / "a.nqx").read_bytes() != (tmp_path / "b.nqx").read_bytes()
    for name, tensor in rows.tensors.items():
        assert torch.equal(tensor, turned.tensors[name])


@pytest.mark.parametrize("after", [b"\n", saved(np.float64(0.5)) + saved(7) + saved(True)])
def test_what_follows_the_weights_is_of_training(tmp_path, after):
    """Published files end with an empty line, with the numbers of all their settings, or with the weights."""
    plain = read_nequix(write_nequix(tmp_path / "a.nqx"))
    more = read_nequix(write_nequix(tmp_path / "b.nqx", after=after))
    assert plain.tensors.keys() == more.tensors.keys()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"index_weights": True}, "'index_weights'"),
        ({"lmax": 4}, "'lmax'"),
        ({"radial_polynomial_p": 2.5}, "'radial_polynomial_p'"),
        ({"avg_n_neighbors": float("nan")}, "'avg_n_neighbors'"),
        ({"atomic_numbers": [1, 1, 8]}, "'atomic_numbers'"),
        ({"atomic_numbers": [1, 8]}, "shape"),
        ({"hidden_irreps": "4x0e + 3x1e + 2x2e"}, "must be written like"),
        ({"hidden_irreps": "4x0e + 0x1o"}, "must be written like"),
        ({"lmax": 1}, "up to the degree 1"),
        ({"n_layers": 10**4}, "only .* tensors"),
        ({"n_layers": 2}, "shape"),
        ({"n_layers": 4}, "no tensor"),
        ({"layer_norm": False}, "shape"),
    ],
)
def test_other_settings_are_refused(tmp_path, changes, words):
    with pytest.raises(CheckpointError, match=words):
        read_nequix(write_nequix(tmp_path / "m.nqx", SETTINGS | changes))


def test_a_setting_that_is_missing_is_refused(tmp_path):
    settings = {name: value for name, value in SETTINGS.items() if name != "cutoff"}
    assert "lacks the hyper-parameter 'cutoff'" in refusal(read_nequix, write_nequix(tmp_path / "m.nqx", settings))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"readout.0": np.full((4, 1), np.nan, np.float32)}, "finite"),
        ({"readout.0": np.zeros((4, 1), np.int32)}, "finite"),
        ({"readout.0": np.zeros((1, 4), np.float32)}, "shape"),
        ({"readout.0": np.full((4, 1), None)}, "header of array"),  # a pickle, which is not opened
        ({"readout.0": np.zeros((0, 1), np.float32)}, "header of array"),
        ({"more": np.zeros(3, np.float32)}, "more arrays"),
    ],
)
def test_other_arrays_are_refused(tmp_path, changes, words):
    assert words in refusal(read_nequix, write_nequix(tmp_path / "m.nqx", found=arrays() | changes))


def test_an_array_that_claims_more_than_the_file_is_refused(tmp_path):
    path = write_nequix(tmp_path / "m.nqx")
    larger = path.read_bytes().replace(b"(4, 1), }" + 9 * b" ", b"(4000000000, 1), }")
    assert larger != path.read_bytes()
    path.write_bytes(larger)
    assert "claims more bytes" in refusal(read_nequix, path)


def test_cut_short(tmp_path):
    path = write_nequix(tmp_path / "m.nqx")
    data = path.read_bytes()
    for size in np.linspace(1, len(data) - 1, 40, dtype=int):
        path.write_bytes(data[:size])
        refusal(read_nequix, path)


def test_changed_bytes_are_errors_of_ours_or_harmless(tmp_path):
    path = write_nequix(tmp_path / "m.nqx")
    data, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(80):
        changed = bytearray(data)
        changed[random.integers(len(data))] = random.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(CheckpointError):
            read_nequix(path)
