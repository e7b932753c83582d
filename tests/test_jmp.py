"""JMP: files of upstream are read and converted, its numbers are upstream's, and pruning is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from foreign_files import write_matgl
from oracles.jmp.seeded import COMMON, LISTS, SHIFTS, SIZES, SMALL, head_layout, structures, tensors

import halocline
from halocline.aggregation import Form
from halocline.checkpoint import read_header
from halocline.cli.main import main
from halocline.errors import BackboneError, CheckpointError, LoweringError, UsageError, ZooError
from halocline.lowering import lower_structure
from halocline.model.build import build_backbone
from halocline.model.pruner import make_pruner, pruned
from halocline.plugin import registry
from halocline.plugins.backbones.jmp import JMP, JMPConfig
from halocline.potential.load import build_potential
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.testing import check_backbone
from halocline.zoo.conversion import format_of, read
from halocline.zoo.foreign.jmp import AVERAGED, LAST, jmp_layout
from halocline.zoo.imported import import_model
from halocline.zoo.store import Zoo

ANSWERS = json.loads((Path(__file__).parent / "oracles/jmp/answers.json").read_text(encoding="utf-8"))

#: Of the largest energy, force or stress: rounding of sums, in both precisions.
AGREEMENT = {"float64": 1e-10, "float32": 1e-5}

#: eV, eV/Å; sums of the same numbers in another order.
ROUNDING = 1e-12


class Recipe:
    """An object of upstream's own among what Lightning keeps; its pickle would need upstream to be built."""


def content(averages=None, groups=1, **changes):
    """What is in a file as upstream writes it, with upstream's own names and shapes."""
    heads = {"outputs.0.out_energy.0.weight": torch.ones(3, 3), "task_steps": torch.zeros(2)}
    state = tensors(ANSWERS["layout"]) | heads
    settings = COMMON | SMALL | changes
    optimiser = {"state": {}, "param_groups": [{"params": []}] * groups}
    if averages is not None:
        optimiser["ema"] = tuple(averages)
    return {
        "epoch": 1,
        "hyper_parameters": {"id": "x", "backbone": settings, "recipe": Recipe()},
        "state_dict": state,
        "optimizer_states": [optimiser],
    }


def written(folder, made=None):
    path = folder / "jmp-small.pt"
    torch.save(content() if made is None else made, path)
    return path


def imported(path):
    assert format_of(path) == "jmp"
    foreign = read("jmp", path)
    return foreign, build_potential(registry().load("converter", "jmp")(foreign.config, foreign.tensors))


def fitted(folder, lists):
    """An imported network with other lists and a head, as the answers have them."""
    _, model = imported(written(folder))
    config = model.backbone.config | {"head_layers": 2, "species": list(SHIFTS)}
    config |= dict(zip(("main", "mixed", "close", "pairs"), LISTS[lists], strict=True))
    backbone = JMP.from_config(config)
    head = tensors(head_layout(SMALL["emb_size_atom"]))
    weights = {n: t for n, t in model.backbone.state_dict().items() if ".head." not in n}
    for name, tensor in head.items():
        _, number, kind = name.split(".")
        ours = "out" if tensor.shape[0] == 1 else f"hidden.{int(number) // 2}"
        weights[f"readout.head.{ours}.{kind}"] = tensor.double()
    backbone.load_state_dict(weights, strict=True)
    return Potential(backbone, SHIFTS, {})


def require_close(found, answer, precision):
    for what, theirs in answer.items():
        ours, theirs = np.array(getattr(found, what)), np.array(theirs)
        assert np.abs(ours - theirs).max() <= AGREEMENT[precision] * np.abs(theirs).max(), what


@pytest.mark.parametrize("lists", LISTS)
def test_imported_networks_have_the_numbers_of_upstream_whole_and_pruned(tmp_path, lists):
    model = fitted(tmp_path, lists)
    for case, atoms in structures().items():
        for precision in AGREEMENT:
            if answer := ANSWERS["answers"].get(f"{lists} {case}"):
                require_close(model(atoms, dtype=precision, device="cpu"), answer, precision)
    small = Potential(pruned(model.backbone, 1), model.reference_energies, {})
    found = small(structures()["molecule"], dtype="float64", device="cpu")
    require_close(found, ANSWERS["pruned"][lists], "float64")


def test_an_imported_network_tells_nothing_until_its_head_is_fitted(tmp_path):
    foreign, model = imported(written(tmp_path))
    assert foreign.facts["weights"] == LAST
    assert len(model.backbone.species) == 118
    result = model(structures()["molecule"], dtype="float64", device="cpu")
    assert not result.energies.any()
    assert not result.forces.any()


def averages():
    """One tensor for each weight that an optimiser has, in its order."""
    left = ("rbf.offset", "rbf.temps", "scale_factor")
    return [
        torch.full_like(tensor, 0.25)
        for name, tensor in content()["state_dict"].items()
        if not name.endswith(left) and ".seq_energy_pre." not in name and name != "task_steps"
    ]


def test_averaged_weights_are_taken_where_they_can_be_told_apart(tmp_path):
    cases = ((averages(), 1, AVERAGED), (averages(), 2, LAST), (averages()[1:], 1, LAST), (None, 1, LAST))
    for kept, groups, told in cases:
        foreign = read("jmp", written(tmp_path, content(kept, groups)))
        assert foreign.facts["weights"] == told
        dense = foreign.tensors["backbone.int_blocks.1.dense_ca.linear.weight"]
        assert bool((dense == 0.25).all()) is (told == AVERAGED)
        assert not (foreign.tensors["backbone.int_blocks.1.trip_interaction.scale_rbf.scale_factor"] == 0.25).any()


@pytest.mark.parametrize("size", SIZES)
def test_all_tensors_of_published_sizes_are_used_but_those_of_direct_forces(size):
    left = (".seq_energy_pre.", ".seq_forces.", ".dense_rbf_F.", ".scale_rbf_F.", "out_mlp_F")
    published = {
        name: tuple(shape)
        for name, shape in ANSWERS["released"][size].items()
        if not any(each in name for each in left)
    }
    assert jmp_layout(COMMON | SIZES[size]) == published
    config = JMPConfig.published(size, ["H"])
    assert (config.layers, config.edge) == (SIZES[size]["num_blocks"], SIZES[size]["emb_size_edge"])


@pytest.mark.parametrize(("change", "told"), [
    ({"absolute_rbf_cutoff": None}, "'absolute_rbf_cutoff' .* must be 12.0"),
    ({"unique_basis_per_layer": True}, "'unique_basis_per_layer'"),
    ({"num_blocks": 3}, "has no tensor backbone.int_blocks.2"),
    ({"surprise": 1}, "'surprise', whose meaning is not known"),
    ({"sbf": {"name": "spherical_harmonics"}}, "'sbf' .* must be {'name': 'legendre_outer'}"),
    ({"direct_forces": False}, "'direct_forces' .* must be True"),
    ({"atom_interaction": False}, "'atom_interaction' .* must be True"),
])  # fmt: skip
def test_what_is_no_known_network_is_refused_by_name(tmp_path, change, told):
    with pytest.raises(CheckpointError, match=told):
        read("jmp", written(tmp_path, content(**change)))


def test_files_without_a_network_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has state_dict and hyper_parameters"):
        read("jmp", written(tmp_path, {"state_dict": content()["state_dict"]}))
    made = content()
    del made["hyper_parameters"]["backbone"]
    with pytest.raises(CheckpointError, match="hyper-parameters"):
        read("jmp", written(tmp_path, made))
    made = content()
    made["state_dict"]["backbone.surprise"] = torch.ones(1)
    with pytest.raises(CheckpointError, match="surprise"):
        read("jmp", written(tmp_path, made))


def test_functions_of_the_distance_are_made_of_the_same_gaussians(tmp_path):
    made = content()
    made["state_dict"]["backbone.bases.radial_basis_aint.rbf.offset"] *= 0.5
    with pytest.raises(BackboneError, match=r"radial_basis_aint.rbf.offset differs"):
        imported(written(tmp_path, made))


def test_cards_of_imports_say_the_licence_and_that_energies_jump(tmp_path, monkeypatch):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    header = read_header(import_model(written(tmp_path), "jmp-small"))
    assert header.card["licence"] == {"code": "CC-BY-NC-4.0", "weights": "CC-BY-NC-4.0"}
    assert any("2310.16802" in each for each in header.card["citation"])
    assert "30 nearest" in header.card["notes"]


def test_the_zoo_has_its_names_and_fetches_nothing_that_no_digest_tells_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    zoo = Zoo()
    assert not zoo.present("jmp-s")
    with pytest.raises(ZooError, match=r"No digest .*zoo import https://.*/jmp-s\.pt --name jmp-s"):
        zoo.path("jmp-s")
    zoo.add(written(tmp_path), "jmp-s")
    entry = zoo.entry("jmp-s")
    assert (entry.backbone, entry.licences["weights"]) == ("jmp", "CC-BY-NC-4.0")
    assert zoo.names().count("jmp-s") == 1
    assert halocline.load("jmp-s").card["recipe"]["converted_from"] == "jmp"


def test_what_nobody_published_of_it_is_said_to_be_unknown(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["zoo", "show", "jmp-s"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["size", "not", "known"] in lines
    assert ["sha256", "not", "known"] in lines


def test_its_names_are_for_its_models_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match=r"jmp-s is the zoo's name .* format jmp, .* format matgl"):
        Zoo().add(write_matgl(tmp_path / "other"), "jmp-s")
    assert not Zoo().present("jmp-s")


def example(**changes):
    """A small model with a head that tells something."""
    backbone = build_backbone("jmp", JMP.example_config() | changes, seed=0)
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})


def crystal():
    rng = np.random.default_rng(0)
    cell = [[4.5, 0, 0], [0.5, 4.2, 0], [0.2, 0.4, 4.8]]
    return Atoms("OHHOHH", positions=rng.uniform(0.0, 4.2, (6, 3)), cell=cell, pbc=True)


def test_parts_and_batches_are_the_whole():
    model, atoms = example(), crystal().repeat((3, 1, 1))
    expected = model(atoms, dtype="float64", device="cpu")
    found = [
        model(atoms, dtype="float64", device="cpu", partition="rcb:3", halo="recompute"),
        model([crystal(), atoms], dtype="float64", device="cpu")[1],
    ]
    for result in found:
        for quantity in ("energies", "forces", "virial"):
            difference = getattr(result, quantity) - getattr(expected, quantity)
            assert np.abs(difference).max() < ROUNDING * max(1.0, np.abs(getattr(expected, quantity)).max())


def test_state_of_edges_is_not_exchanged():
    with pytest.raises(UsageError, match=r"'layers.1' of 'jmp' reads features of edges .* choose halo=recompute"):
        example()(crystal(), device="cpu", partition="rcb:2", halo="exchange")


def test_it_is_not_exported_as_one_program():
    model = example()
    frozen = FrozenModel.freeze(model.backbone, Precision.FLOAT64, Capabilities.reference(Form.TABLE))
    with pytest.raises(LoweringError, match="'jmp' has several lists of neighbours"):
        lower_structure(frozen, model.reference_energies)


def test_channels_are_not_pruned():
    with pytest.raises(UsageError, match="'jmp' does not say which of its weights belong to one channel"):
        make_pruner("channels:keep=0.5").prune(example().backbone)


def test_later_layers_read_what_the_first_has_computed():
    """Weights of distances are those of the first layer: blocks share them, as upstream's do."""
    names = [name for name in example().backbone.state_dict() if ".basis." in name or ".distance." in name]
    assert names
    assert all(name.startswith("layers.0.") for name in names)


def test_compressed_functions_of_the_distance_are_what_they_were():
    model, atoms = example(), crystal()
    expected = model(atoms, dtype="float64", device="cpu")
    found = model(atoms, dtype="float32", device="cpu", compress=True)
    assert np.abs(found.forces - expected.forces).max() < 1e-4 * np.abs(expected.forces).max()


def test_a_pruned_model_lacks_what_later_blocks_tell():
    full = example().backbone
    smaller = pruned(full, 1)
    assert smaller.hops == full.hops - 3
    with torch.no_grad():  # what is left of the last block is what edges see before it
        full.layers[1].after.output.share.weight.zero_()
    atoms = crystal()
    expected, found = (
        Potential(each, dict.fromkeys("HO", 0.0), {})(atoms, dtype="float64", device="cpu")
        for each in (full, smaller)
    )
    assert np.abs(found.energies - expected.energies).max() < ROUNDING


def straight(model, softness):
    """Largest force on a chain of four atoms that is straight but for a ten-thousandth of an Å, eV/Å."""
    backbone = JMP.from_config(model.backbone.config | {"softness": softness})
    backbone.load_state_dict(model.backbone.state_dict())
    atoms = Atoms("OHHO", [(0, 0, 0), (1.0, 1e-4, 0), (2.1, 0, 1e-4), (3.3, 0, 0)])
    found = Potential(backbone, model.reference_energies, {})(atoms, dtype="float64", device="cpu")
    return np.abs(found.forces).max()


def test_softness_bounds_forces_of_straight_chains(tmp_path):
    model = fitted(tmp_path, "few")
    assert straight(model, 1e-9) > 10.0 * straight(model, 0.1)


@pytest.mark.parametrize(("changes", "named"), [
    ({"species": ["Xx"]}, "chemical symbols"),
    ({"edge": 0}, "edge is one at least"),
    ({"pairs": 2}, "2 is below 4"),
    ({"softness": 0.0}, "positive"),
    ({"gaussians": 1}, "two functions"),
    ({"before_skip": -1}, "before_skip is not negative"),
    ({"head_layers": -1}, "no negative number"),
])  # fmt: skip
def test_impossible_sizes_are_refused(changes, named):
    with pytest.raises(BackboneError, match=named):
        example(**changes)


def test_unknown_sizes_are_refused():
    with pytest.raises(UsageError, match="size of JMP"):
        JMPConfig.published("M", ["H"])


@pytest.mark.slow
@pytest.mark.exhaustive  # half a minute of lowering; that later blocks are lowered is for the suite to see
def test_one_block_is_itself_on_onnx_runtime():
    pytest.importorskip("onnxruntime")
    model, atoms = example(layers=1), crystal()
    expected = model(atoms, dtype="float64", device="cpu")
    found = model(atoms, dtype="float64", device="cpu", backend="onnx")
    for quantity in ("energies", "forces", "virial"):
        difference = getattr(found, quantity) - getattr(expected, quantity)
        assert np.abs(difference).max() < ROUNDING * np.abs(getattr(expected, quantity)).max(), quantity


@pytest.mark.slow
def test_a_small_model_keeps_the_contract():
    """What costs no lowering; all of it is left to `make exhaustive`."""
    checks = ["declaration", "config", "one-atom", "no-neighbours", "rotation", "reflection", "permutation"]
    checks += ["forces", "stress", "receptive-field", "forms", "saving", "pruning", "elements"]
    checks += ["parts", "training", "float32"]
    results = check_backbone(example().backbone, checks=checks).results
    assert not [result for result in results if result.status == "failed"]
    assert len(results) == len(checks)
