"""Files of MACE are read without its classes, imported, and refused with a reason."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from foreign_files import refusal, write_mattersim
from mace_files import write_mace
from oracles.mace.records import FOLDER, read_answers
from oracles.mace.structures import structures
from test_mace_parity import AGREEMENT, require_close, tensors

from halocline.errors import CheckpointError
from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.zoo import conversion
from halocline.zoo.foreign import read_mace
from halocline.zoo.foreign.modules import tensors_of
from halocline.zoo.foreign.unpickle import read_torch_objects
from halocline.zoo.imported import import_model, imported_path

MODEL = "density-L1"


def write(path, name=MODEL, changes=None, **options):
    config, given = tensors(name)
    return write_mace(path, config, given | (changes or {}), **options)


@pytest.mark.parametrize("name", [MODEL, "agnostic-everywhere-L0", "one-layer", "heads-density-L0"])
def test_what_is_read_is_what_was_written(tmp_path, name):
    config, given = tensors(name)
    foreign = read_mace(write(tmp_path / "m.model", name))
    hidden = config["hidden_lmax"] if len(config["interactions"]) > 1 else 0
    assert foreign.config == config | {"hidden_lmax": hidden}
    assert foreign.tensors.keys() == given.keys()
    for key, values in given.items():
        assert torch.equal(foreign.tensors[key], values), key


def test_imported_model_gives_the_answers_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    import_model(write(tmp_path / "mine.model"), "mine")
    import halocline

    model, answers = halocline.load("mine"), read_answers(FOLDER / f"{MODEL}.npz")[0]
    for key, atoms in structures().items():
        require_close(model(atoms, dtype="float64", device="cpu"), answers[key], AGREEMENT["float64"])
    assert model.card["recipe"]["converted_from"] == "mace"
    assert "mine.model" in model.card["recipe"]["files"]
    assert imported_path("mine").is_file()


def test_versions_that_know_one_head_write_numbers_without_an_axis_for_it(tmp_path):
    config, given = tensors(MODEL)
    flat = {
        name: values.squeeze(0) for name, values in given.items() if name.startswith(("scale_", "atomic_ener"))
    }
    assert len(flat) == 3
    foreign = read_mace(write_mace(tmp_path / "m.model", config, given | flat))
    for name in flat:
        assert torch.equal(foreign.tensors[name], given[name])


def test_a_cutoff_of_the_repulsion_that_nothing_reads_is_left_behind(tmp_path):
    """Version 0.3.6 keeps one, and so do the released files with densities, by the numbers of their buffers."""
    config, given = tensors(MODEL)
    names = ("pair_repulsion_fn.r_max", "pair_repulsion_fn.cutoff.p", "pair_repulsion_fn.cutoff.r_max")
    more = dict.fromkeys(names, torch.tensor(6.0))
    assert read_mace(write_mace(tmp_path / "m.model", config, given | more)).tensors.keys() == given.keys()


def test_formats_of_files_are_told_apart(tmp_path):
    assert conversion.format_of(write(tmp_path / "a.model")) == "mace"
    assert conversion.format_of(write_mattersim(tmp_path / "b.pth")) == "mattersim"


class Hostile:
    """Makes a folder when it is unpickled by Python's own machine."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Gadget(Hostile):
    """The same, through what torch uses to make tensors."""

    def __reduce__(self):
        return torch._utils._rebuild_parameter, (Hostile(self.path), True, {})


@pytest.mark.parametrize("kind", [Hostile, Gadget])
def test_code_in_a_model_is_a_record_and_never_run(tmp_path, kind):
    path = write(tmp_path / "m.model", attributes={"extra": kind(tmp_path / "victim"), "more": [eval, os.system]})
    read_mace(path)
    assert not (tmp_path / "victim").exists()
    with pytest.raises((ModuleNotFoundError, AttributeError)):  # not even the model's own classes are there
        torch.load(path, weights_only=False)


def test_code_in_the_place_of_a_tensor_is_a_tensor_that_is_missing(tmp_path):
    path = write(tmp_path / "m.model")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"ctorch._utils\n_rebuild_tensor_v2\n", b"cbuiltins\nexec\n", 1))
    assert "m.model" in refusal(read_mace, path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"root": "mace.modules.models.AtomicDipolesMACE"}, "AtomicDipolesMACE"),
        ({"root": "builtins.eval2"}, "not a model of MACE"),
        ({"attributes": {"heads": ["pbe", "r2scan"]}}, "3 numbers, which 2 heads cannot share"),
        (
            {"attributes": {"heads": ["pbe", "pbe"]}},
            "different names, 100 at most, not 'pbe', 'pbe'",
        ),
        ({"attributes": {"heads": [1]}}, "different names"),
        ({"attributes": {"heads": []}}, "different names"),
        ({"attributes": {"heads": "pbe"}}, "different names"),
        ({"attributes": {"heads": ["a\nb"]}}, "different names"),
        ({"attributes": {"apply_cutoff": False}}, "apply_cutoff"),
        ({"attributes": {"use_last_readout_only": True}}, "use_last_readout_only"),
        ({"attributes": {"embedding_specs": {"total_charge": {}}}}, "embedding_specs"),
        (
            {
                "classes": {"interactions.1": "mace.modules.blocks.RealAgnosticResidualNonLinearInteractionBlock"},
                "attributes": {"apply_cutoff": False},
            },
            "'RealAgnosticResidualNonLinearInteractionBlock', which are not known here; models of the kinds MH",
        ),
        ({"classes": {"radial_embedding.bessel_fn": "mace.modules.radial.GaussianBasis"}}, "GaussianBasis"),
        (
            {"classes": {"radial_embedding.distance_transform": "mace.modules.radial.SoftTransform"}},
            "SoftTransform",
        ),
        ({"classes": {"readouts.2": "mace.modules.blocks.NonLinearDipoleReadoutBlock"}}, "NonLinearDipole"),
        ({"changes": {"scale_shift.scale": torch.tensor([0.1, 0.2])}}, "scale_shift.scale"),
        ({"changes": {"scale_shift.scale": torch.tensor([float("nan")])}}, "finite"),
        ({"changes": {"products.0.linear.weight": torch.ones(5)}}, "products.0.linear.weight"),
        ({"changes": {"another.weight": torch.ones(5)}}, "another.weight"),
        ({"attributes": {"heads": [str(number) for number in range(10**4)]}}, "100 at most"),
        ({"changes": {"atomic_numbers": torch.tensor([1, 1, 8])}}, "atomic numbers"),
    ],
    ids=str,
)
def test_what_is_not_known_is_refused_by_name(tmp_path, options, words):
    changes = options.pop("changes", {})
    config, given = tensors(MODEL)
    if "atomic_numbers" in changes:
        config = config | {"atomic_numbers": changes.pop("atomic_numbers").tolist()}
    path = write_mace(tmp_path / "m.model", config, given | changes, **options)
    assert words in refusal(read_mace, path)


def test_missing_tensors_and_other_activations_are_refused(tmp_path):
    config, given = tensors(MODEL)
    less = {name: values for name, values in given.items() if name != "interactions.0.linear_up.weight"}
    assert "interactions.0.linear_up.weight" in refusal(read_mace, write_mace(tmp_path / "a.model", config, less))
    none = {name: values for name, values in given.items() if name != "r_max"}
    assert "r_max" in refusal(read_mace, write_mace(tmp_path / "b.model", config, none))
    path = write_mace(tmp_path / "c.model", config | {"activation": -1.0}, given)
    assert "normalised" in refusal(read_mace, path)


def test_sizes_that_no_model_has_are_refused_before_anything_is_listed_for_each(tmp_path):
    config, given = tensors(MODEL)
    name = "products.0.symmetric_contractions.contractions.0.U_matrix_"
    wide = given | {f"{name}1": torch.zeros(10**5, 1)}
    assert "max_ell" in refusal(read_mace, write_mace(tmp_path / "a.model", config, wide))
    high = given | {f"{name}{power}": torch.zeros(1) for power in range(4, 12)}
    assert "correlation" in refusal(read_mace, write_mace(tmp_path / "b.model", config, high))


def test_modules_that_hold_themselves_end(tmp_path):
    path = write(tmp_path / "m.model")
    root = read_torch_objects(path)
    root.state["_modules"] |= {"one": root, "two": root}
    with pytest.raises(CheckpointError, match="without end"):
        tensors_of(path, root)


def test_dictionaries_are_no_models(tmp_path):
    assert "not a model of MACE" in refusal(read_mace, write_mattersim(tmp_path / "b.pth"))


def test_single_precision_is_kept_to_the_bit(tmp_path):
    config, given = tensors("agnesi-L2")
    single = {name: values.float() for name, values in given.items()}
    foreign = read_mace(write_mace(tmp_path / "m.model", config, single))
    potential = build_potential(registry().load("converter", "mace")(foreign.config, foreign.tensors))
    radii = potential.backbone.embed.radii.numpy()
    table = single["radial_embedding.distance_transform.covalent_radii"][config["atomic_numbers"]].numpy()
    np.testing.assert_array_equal(radii, table.astype(np.float64))
