"""NequIP gives what SevenNet gives; see `oracles/sevennet/README.md`."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles.sevennet.models import MODELS, structures

from halocline.errors import BackboneError, CheckpointError, StructureError
from halocline.model.pruner import pruned
from halocline.plugin import registry
from halocline.plugins.backbones.nequip import NequIPConfig
from halocline.plugins.backbones.nequip.radial import xplor_envelope
from halocline.potential.load import build_potential
from halocline.zoo import conversion
from halocline.zoo.foreign import read_sevennet
from halocline.zoo.imported import import_model

FOLDER = Path(__file__).parent / "oracles" / "sevennet"
ANSWERS = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))

#: Of one eV, of the largest force and of the largest stress: rounding of sums, in both precisions.
AGREEMENT = {"float64": 1e-10, "float32": 1e-5}

HEADS = ["PBE", "R2SCAN"]


def file(name):
    return FOLDER / "files" / f"{name}.pth"


def potential(name):
    foreign = read_sevennet(file(name))
    return build_potential(registry().load("converter", foreign.dialect)(foreign.config, foreign.tensors))


def heads(name):
    return HEADS if name == "heads" else [None]


def require_close(found, answer, agreement):
    assert np.abs(found.energies - answer["energies"]).max() <= agreement
    for ours, theirs in ((found.forces, answer["forces"]), (found.stress, answer["stress"])):
        assert np.abs(ours - theirs).max() <= agreement * np.abs(theirs).max()


@pytest.mark.parametrize("precision", AGREEMENT)
@pytest.mark.parametrize("name", MODELS)
def test_energies_forces_and_stress_are_those_of_the_package(name, precision):
    model = potential(name)
    for head in heads(name):
        for case, atoms in structures().items():
            found = model(atoms, dtype=precision, device="cpu", **({"head": head} if head else {}))
            require_close(found, ANSWERS[f"{name} {head} {case}"], AGREEMENT[precision])


def test_an_imported_model_answers_alike(cache):
    import halocline

    import_model(file("heads"), "mine")
    model = halocline.load("mine")
    assert model.card["recipe"]["converted_from"] == "sevennet"
    for head in HEADS:
        atoms = structures()["crystal"]
        atoms.info["head"] = head
        found = model(atoms, dtype="float64", device="cpu")
        require_close(found, ANSWERS[f"heads {head} crystal"], AGREEMENT["float64"])


def test_a_head_that_is_not_there_is_refused():
    model = potential("heads")
    with pytest.raises(StructureError, match=r"needs its head \(PBE, R2SCAN\)"):
        model(structures()["crystal"])


@pytest.mark.parametrize("head", HEADS)
def test_a_head_by_itself_answers_alike(head):
    model = potential("heads")
    backbone = model.backbone
    one = type(backbone).from_config(backbone.one_head_config(head))
    one.load_state_dict(backbone.one_head_weights(head))
    beyond = backbone.head_energies[head]
    energies = {symbol: energy + beyond[symbol] for symbol, energy in model.reference_energies.items()}
    alone = type(model)(one.eval(), energies, {})(structures()["crystal"], dtype="float64", device="cpu")
    require_close(alone, ANSWERS[f"heads {head} crystal"], AGREEMENT["float64"])


def test_pruned_models_keep_what_they_have_in_common_with_the_whole():
    """Scalars of the layer that becomes the last are those that it had."""
    backbone = potential("new").backbone
    short = pruned(backbone, 2)
    whole_rows = dict(backbone.named_parameters())["layers.1.down.weights.0"][:, :4]
    assert torch.equal(short.layers[1].down.weights[0], whole_rows)


def test_what_a_file_must_not_be(tmp_path):
    path = tmp_path / "m.pth"
    good = torch.load(file("new"), weights_only=False)

    def refused(changes, words, state=None):
        torch.save(
            {"config": good["config"] | changes, "model_state_dict": state or good["model_state_dict"]}, path
        )
        with pytest.raises(CheckpointError, match=words):
            read_sevennet(path)

    refused({"is_parity": True}, "'is_parity'.*must be False")
    refused({"self_connection_type": "nequip"}, "'self_connection_type'.*must be 'linear'")
    refused({"readout_as_fcn": True}, "'readout_as_fcn'")
    refused({"cutoff_function": {"cutoff_function_name": "cosine"}}, "cutoff function")
    refused({"irreps_manual": ["4x0e", "4x0e+4x1o", "4x0e"]}, "written like '128x0e")
    refused({"_type_map": {6: 0, 1: 2, 8: 3}}, "count its 3 entries")
    refused({"num_convolution_layer": 10**4}, "only .* tensors")
    refused({"lmax": 1}, "has a tensor|has the shape")
    refused(
        {},
        "no tensor 1_convolution.denominator",
        {name: tensor for name, tensor in good["model_state_dict"].items() if "1_convolution.denom" not in name},
    )


class _Bomb:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    path = tmp_path / "m.pth"
    good = torch.load(file("new"), weights_only=False)
    torch.save(good | {"optimizer_state_dict": _Bomb()}, path, pickle_module=pickle)
    assert conversion.format_of(path) == "sevennet"
    read_sevennet(path)
    assert capsys.readouterr().out == ""


def test_couplings_that_are_none_are_refused():
    foreign = read_sevennet(file("new"))
    name = next(name for name in foreign.tensors if "_w3j_1_1_2" in name)
    foreign.tensors[name] = foreign.tensors[name].flip(0)
    with pytest.raises(BackboneError, match="coupling 1_1_2"):
        registry().load("converter", "sevennet")(foreign.config, foreign.tensors)


def test_the_xplor_envelope_ends_with_its_slope():
    at = torch.tensor([1.0, 2.0 - 1e-9, 2.0 + 1e-9, 3.0 - 1e-6, 3.0, 4.0], dtype=torch.float64, requires_grad=True)
    values = xplor_envelope(at, 2.0, 3.0)
    assert torch.allclose(values, torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64), atol=1e-8)
    (slopes,) = torch.autograd.grad(values.sum(), at)
    assert slopes.abs().max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"irreps": "4x1o"}, "0e among them"),
        ({"irreps": "4x0e+2x0e"}, "different ones"),
        ({"irreps": "4x0e+2x4e"}, "degrees up to 3"),
        ({"parity": "even"}, "no odd irreps"),
        ({"xplor_from": 5.0}, "within the cutoff"),
        ({"heads": ("a", "b")}, "must be biased"),
        ({"biased": True, "heads": ("a", "b")}, "head_energies must be 4"),
        ({"denominator": 0.0}, "denominator"),
        ({"layers": 0}, "layers"),
    ],
)
def test_impossible_configs_are_refused(changes, words):
    with pytest.raises(BackboneError, match=words):
        NequIPConfig(species=("H", "O"), **changes)
