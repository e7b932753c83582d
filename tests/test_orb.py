"""ORB: files of upstream are read and converted, its numbers are upstream's, direct forces are no derivatives."""

from __future__ import annotations

import json
import math
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from oracles.orb.seeded import SIZES, structures, tensors

import halocline
from halocline.aggregation import Form
from halocline.backends.ipu.executor import fixed_capacity
from halocline.backends.torch.executor import TorchExecutor
from halocline.cost.loads import count_loads
from halocline.cost.profile import Profile
from halocline.dynamics.engine import run_dynamics
from halocline.dynamics.run_files import RunFiles
from halocline.dynamics.settings import Settings
from halocline.errors import BackboneError, CheckpointError, UsageError
from halocline.evaluator import NoLinks
from halocline.evaluator.make import make_runner
from halocline.graph import NeighbourList, Structure
from halocline.lowering.example import whole_inputs
from halocline.model.backbone import Output
from halocline.model.build import build_backbone
from halocline.model.chain import chain
from halocline.model.energies_of_atoms import with_energies_of_atoms
from halocline.model.pruner import pruned
from halocline.partition import whole
from halocline.plugin import registry
from halocline.plugins.backbones.orb import ORB
from halocline.plugins.backbones.orb.repulsion import Repulsion
from halocline.plugins.backbones.orb.stages import Layer
from halocline.potential.load import build_potential
from halocline.potential.potential import Potential
from halocline.probes.receptive_field import measure_hops
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.program.capacity import pad
from halocline.program.layout import lay_out
from halocline.training.fittable import require_trainable
from halocline.training.parent import inherit
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.zoo.conversion import format_of, read, store
from halocline.zoo.foreign.orb import orb_layout
from halocline.zoo.index import read_index

ANSWERS = json.loads((Path(__file__).parent / "oracles/orb/answers.json").read_text(encoding="utf-8"))
MODELS = ANSWERS["models"]

#: Under which names the released files of such models go.
FILES = {
    "v2": "renamed.ckpt",
    "v3-direct-20": "orb-v3-direct-20-omat-20250404.ckpt",
    "v3-direct-inf": "orb-v3-direct-inf-mpa-20250404.ckpt",
    "v3-conservative-20": "orb-v3-conservative-20-mpa-20250404.ckpt",
    "v3-conservative-inf": "orb-v3-conservative-inf-omat-20250404.ckpt",
    "v3-conservative-omol": "orb-v3-conservative-omol-20250820.ckpt",
    "v3-direct-omol": "orb-v3-direct-omol-20250820.ckpt",
}

#: Of the energy, or of the largest force or stress: by rounding alone.
AGREEMENT = {"float64": 1e-10, "float32": 1e-5}

#: eV, eV/Å; sums of the same numbers in another order.
ROUNDING = 1e-12

_VOIGT = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]


def written(folder, name, renamed=None):
    """A file as upstream writes it, with upstream's own names and shapes."""
    path = folder / FILES[name]
    state = tensors(MODELS[name]["layout"])
    torch.save(state if renamed is None else renamed(state), path)
    return path


def imported(path):
    assert format_of(path) == "orb"
    foreign = read("orb", path)
    return build_potential(registry().load("converter", "orb")(foreign.config, foreign.tensors))


def posed(name, told):
    atoms = structures()[name]
    if told:
        atoms.info |= {"charge": -1, "spin": 2}
    return atoms


def require_close(result, answer, dtype):
    forces = np.array(answer["forces"])
    assert result.energy == pytest.approx(answer["energy"], rel=AGREEMENT[dtype], abs=0.0)
    assert np.abs(result.forces - forces).max() < AGREEMENT[dtype] * np.abs(forces).max()
    if "stress" in answer:
        stress = np.array(answer["stress"])[_VOIGT]
        assert np.abs(result.stress - stress).max() < AGREEMENT[dtype] * np.abs(stress).max()


@pytest.mark.parametrize("name", MODELS)
def test_imported_models_have_the_numbers_of_upstream_whole_and_pruned(tmp_path, name):
    model, told = imported(written(tmp_path, name)), "omol" in name
    for structure, answer in MODELS[name]["answers"].items():
        for dtype in AGREEMENT:
            result = model(posed(structure, told), dtype=dtype, device="cpu")
            require_close(result, answer, dtype)
            if name == "v3-direct-omol" or (name == "v2" and structure == "water"):
                assert result.stress is None
    small = Potential(pruned(model.backbone, 1), model.reference_energies, {})
    require_close(small(posed("dense", told), dtype="float64", device="cpu"), MODELS[name]["pruned"], "float64")


@pytest.mark.parametrize("name", ["v3-direct-20", "v3-conservative-inf"])
def test_parts_and_batches_are_the_whole(tmp_path, name):
    model, atoms = imported(written(tmp_path, name)), structures()["dense"].repeat((2, 1, 1))
    expected = model(atoms, dtype="float64", device="cpu")
    halves = {"dtype": "float64", "device": "cpu", "partition": "rcb:3"}
    found = [
        model(atoms, **halves, halo="recompute"),
        model(atoms, **halves, halo="exchange"),
        model([structures()["water"], atoms], dtype="float64", device="cpu")[1],
    ]
    for result in found:
        for quantity in ("energies", "forces", "virial"):
            difference = getattr(result, quantity) - getattr(expected, quantity)
            assert np.abs(difference).max() < ROUNDING * max(1.0, np.abs(getattr(expected, quantity)).max())


@pytest.mark.parametrize(("name", "config"), [
    ("v2", {"version": 2, "direct": True, "stress": True, "charged": False, "hidden": 512, "layers": 15}),
    ("v3-conservative", {"direct": False, "stress": False, "charged": False}),
    ("v3-direct", {"direct": True, "stress": True, "charged": False}),
    ("v3-conservative-omol", {"direct": False, "stress": False, "charged": True}),
    ("v3-direct-omol", {"direct": True, "stress": False, "charged": True}),
])  # fmt: skip
def test_all_tensors_of_released_sizes_are_used_but_those_of_training(name, config):
    sizes = {"version": 3, "features": 256, "hidden": 1024, "head_hidden": 256, "layers": 5}
    unused = ("model._decoder.", "heads.confidence.", "grad_")
    released = {
        key: tuple(shape)
        for key, shape in ANSWERS["released"][name].items()
        if not key.startswith(unused) and not key.endswith("num_batches_tracked")
    }
    assert orb_layout(sizes | config) == released


def test_names_of_earlier_releases_are_known(tmp_path):
    old = {"heads.forces.": "node_head.", "heads.energy.": "graph_head.", "heads.stress.": "stress_head."}

    def renamed(state):
        for new, before in old.items():
            state = {key.replace(new, before).replace("normalizer", "normaliser"): t for key, t in state.items()}
        return state

    model = imported(written(tmp_path, "v2", renamed))
    require_close(
        model(structures()["water"], dtype="float64", device="cpu"), MODELS["v2"]["answers"]["water"], "float64"
    )


@pytest.mark.parametrize(("change", "told"), [
    (lambda state: {k: t for k, t in state.items() if not k.startswith("heads.")}, "without heads"),
    (lambda state: state | {"model.surprise": torch.ones(1)}, "surprise"),
    (lambda state: state | {"model.rbf_transform.r_max": torch.tensor(5.0)}, "5.0 Å, not 6.0"),
    (lambda state: state | {"model._encoder._edge_fn.mlp.NN-0.weight": torch.ones(24, 50)}, "50 numbers each"),
    (lambda state: {k: t for k, t in state.items() if not k.endswith("forces.mlp.NN-1.bias")}, "no tensor heads"),
])  # fmt: skip
def test_what_is_no_known_model_is_refused_by_name(tmp_path, change, told):
    with pytest.raises(CheckpointError, match=told):
        read("orb", written(tmp_path, "v3-direct-20", change))


def test_a_file_that_does_not_say_how_many_neighbours_is_refused(tmp_path):
    path = written(tmp_path, "v3-direct-20").rename(tmp_path / "mine.ckpt")
    with pytest.raises(CheckpointError, match="20 or 120: call the file as it was released"):
        read("orb", path)


def small(**changes):
    backbone = build_backbone("orb", ORB.example_config() | changes, seed=0)
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})


def test_direct_forces_have_neither_net_force_nor_in_molecules_net_torque():
    model = small(forces="direct", repulsion=False)
    bent = Atoms("OH2", [(0, 0, 0), (0.9, 0.1, 0), (-0.2, 0.9, 0.3)])
    for atoms in (bent, Atoms("H2O", [(-1, -1, -1), (1, 1, 1), (0.1, 0.1, 0.1)]), Atoms("O", [(1, 2, 3)])):
        forces = model(atoms, dtype="float64", device="cpu").forces
        torque = np.cross(atoms.positions - atoms.positions.mean(0), forces).sum(0)
        assert np.abs(forces.sum(0)).max() < ROUNDING
        assert np.abs(torque).max() < ROUNDING
    bent.set_cell([9.0] * 3)
    bent.pbc = True
    forces = model(bent, dtype="float64", device="cpu").forces
    assert np.abs(np.cross(bent.positions, forces).sum(0)).max() > 1e-6  # of a crystal it means nothing


def test_uses_that_need_derivatives_refuse_direct_forces_by_name(tmp_path):
    model = small(forces="direct", stress=True)
    atoms = structures()["water"]
    files = RunFiles(tmp_path / "run")
    with pytest.raises(UsageError, match="no derivatives of its energy, which nve would not keep"):
        run_dynamics(atoms, model.calculator(), Settings(ensemble="nve"), files, steps=1)
    with pytest.raises(BackboneError, match="derives it"):
        small(stress=True)


def test_energies_of_atoms_start_from_the_head_and_can_be_fitted(tmp_path):
    model = imported(written(tmp_path, "v3-direct-20"))
    start = Potential(with_energies_of_atoms(model.backbone), model.reference_energies, {})
    require_trainable(start.backbone)
    assert start.backbone.derives_forces
    alone = Atoms("Si")  # one atom is its own mean, and nothing repels it
    energies = [each(alone, dtype="float64", device="cpu").energy for each in (model, start)]
    assert abs(energies[0] - energies[1]) < ROUNDING
    atoms = structures()["dense"]
    found = start(atoms, dtype="float64", device="cpu")
    parts = start(atoms, dtype="float64", device="cpu", partition="rcb:2")
    assert abs(found.energy - parts.energy) < ROUNDING * abs(found.energy)
    with pytest.raises(BackboneError, match="'orb' is a sum over atoms already"):
        with_energies_of_atoms(start.backbone)


def test_a_recipe_may_ask_for_energies_of_atoms(tmp_path):
    parent, recipe = small(species=("Ar",), forces="direct", stress=True), tmp_path / "recipe.toml"
    parent.save(tmp_path / "parent.safetensors")
    frames = [Atoms("Ar2", [(0, 0, 0), (0, 0, 2.0 + 0.1 * step)]) for step in range(4)]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
    ase.io.write(tmp_path / "frames.extxyz", frames)
    recipe.write_text(
        '[data]\nfiles = ["frames.extxyz"]\n[data.split]\nseed = 0\ntrain = 2\nvalidation = 1\n'
        '[model]\nfrom = "parent.safetensors"\nenergies_of_atoms = true\nprune = 1\n[training]\nepochs = 1\n'
    )
    settings = read_recipe(recipe)
    origin = prepare(settings, tmp_path).origin
    assert origin.start.outputs == (Output.ENERGIES,)
    assert len(origin.start.layers) == 1
    assert torch.equal(origin.start.readout.scale, parent.backbone.mean.scale)
    assert inherit({}, origin, settings.model)["parent"]["energies"] == "of atoms"


def test_nuclei_repel_each_other_as_those_of_the_next_element_do():
    """As upstream has it: a tenth of what oxygen and hydrogen would have at this distance."""
    model = small(forces="direct", cutoff=6.0)
    graph = chain(model.backbone, 2, seed=0)
    inputs = lay_out(graph, whole(2, graph.edges, 2), Form.EDGES, Precision.FLOAT64)
    (block,) = inputs.blocks(model.backbone.layers[0].spec.neighbours, range(0, -1, -1), inputs.vectors)
    lengths = torch.full((2,), 0.8, dtype=torch.float64, requires_grad=True)
    energies, slopes = Repulsion()(block, torch.tensor([8, 1]), lengths)
    assert energies.sum().item() == pytest.approx(ANSWERS["repulsion of O-H at 0.8"], rel=ROUNDING)
    (derivative,) = torch.autograd.grad(energies.sum(), lengths)
    assert torch.allclose(derivative, slopes, rtol=ROUNDING)


def test_it_does_not_claim_what_was_only_learned():
    model = small()
    atoms = structures()["water"]
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3))
    energies = [model(each, dtype="float64", device="cpu").energy for each in (atoms, turned)]
    assert abs(energies[0] - energies[1]) > 1e-6
    assert not model.backbone.invariant


def test_cards_say_what_is_not_smooth_and_not_measured(tmp_path):
    model = small()
    assert "the 6 nearest: where two change places, energies and forces jump" in model.backbone.rank_remark
    assert "less than 0.053 atoms/Å³" in model.backbone.rank_remark  # 6 in a sphere of 3 Å
    store(read("orb", written(tmp_path, "v2")), {"notes": "Seeded."}, tmp_path / "v2.safetensors", lambda _: None)
    card = halocline.load(tmp_path / "v2.safetensors").card
    assert card["notes"].startswith("Seeded. Neighbours are the 20 nearest")
    assert card["direct_forces"] == {"curl": "not measured; `halocline audit` measures it"}


def test_a_halo_has_one_hop_for_each_layer_and_one_more():
    """Parts are exact with it, and it is as far as a chain shows that anything depends on."""
    rng = np.random.default_rng(0)
    atoms = Atoms("HO" * 40, rng.random((80, 3)) * [30, 4.5, 4.5], cell=[30, 4.5, 4.5], pbc=True)
    for changes in ({"layers": 1}, {"layers": 3}, {"layers": 3, "forces": "direct", "repulsion": False}):
        model = small(neighbours=5, **changes)
        assert model.backbone.hops == measure_hops(model.backbone) == changes["layers"] + 1
        expected = model(atoms, dtype="float64", device="cpu")
        assert np.abs(expected.forces).max() > 1e-2
        for halo in ("recompute", "exchange"):
            found = model(atoms, dtype="float64", device="cpu", partition="rcb:5", halo=halo)
            assert np.abs(found.forces - expected.forces).max() < ROUNDING
            assert abs(found.energy - expected.energy) < ROUNDING * max(1.0, abs(expected.energy))


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("exchange", [False, True])
def test_costs_are_told_of_the_edges_that_layers_evaluate(monkeypatch, layers, exchange):
    """Sums at senders need one hop more, but no edges there."""
    model, rng = small(neighbours=80, layers=layers, energy="atoms"), np.random.default_rng(0)
    atoms = Atoms("HO" * 40, rng.random((80, 3)) * [30, 4.5, 4.5], cell=[30, 4.5, 4.5], pbc=True)
    graph = NeighbourList(model.backbone.neighbours).graph(Structure.from_atoms(atoms))
    owners, forward, seen = np.digitize(atoms.positions[:, 0], [15.0]), Layer.forward, []

    def counted(layer, state, *blocks):
        seen.append(blocks[0].vectors.flatten(0, -2).shape[0])
        return forward(layer, state, *blocks)

    monkeypatch.setattr(Layer, "forward", counted)
    executor = TorchExecutor("cpu")
    runner = make_runner(model.backbone, executor, Precision.FLOAT64, exchange=exchange)
    seen.clear()
    runner.run(graph, owners, NoLinks())
    loads = count_loads(
        graph.edges, owners, parts=2, ranks=1, profile=Profile.of(model.backbone, Precision.FLOAT64)
    )
    assert sum(seen[: 2 * layers]) == (loads.exchange if exchange else loads.recompute).edges


def test_what_a_model_has_not_is_refused_by_name():
    model, crystal = small(forces="direct", repulsion=False), structures()["water"]
    crystal.set_cell([9.0] * 3)
    crystal.pbc = True
    with pytest.raises(UsageError, match="no heads to choose from; leave out head='pbe'"):
        model(crystal, head="pbe", device="cpu")
    with pytest.raises(UsageError, match="Cannot keep 5 layers of a model that has 2"):
        pruned(model.backbone, 5)
    assert model(crystal, device="cpu", partition="rcb:2").stress is None
    crystal.calc = model.calculator(device="cpu")
    with pytest.raises(PropertyNotImplementedError, match="says what forces are, and has no stress"):
        crystal.get_stress()


@pytest.mark.parametrize(("entry", "released"), [
    ("orb-v3-conservative-inf-omat", "v3-conservative"),
    ("orb-v3-conservative-omol", "v3-conservative-omol"),
])  # fmt: skip
def test_the_index_has_files_as_long_as_their_tensors_are(entry, released):
    """All but names and places of tensors, some hundred bytes each."""
    shapes = ANSWERS["released"][released].values()
    more = read_index().entries[entry].size - 4 * sum(math.prod(shape) for shape in shapes)
    assert 0 < more < 1000 * len(shapes)


def test_more_neighbours_than_a_program_has_room_for_are_refused():
    model = small(layers=1).backbone
    inputs = whole_inputs(model, Form.TABLE, Precision.FLOAT32, atoms=7)
    frozen = FrozenModel.freeze(model, Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    with pytest.raises(UsageError, match=r"needs room for .* slots of neighbours .* Compile it for more"):
        pad(inputs, fixed_capacity(frozen, 7, 3))


def test_no_readout_may_follow_what_is_incomplete():
    model = small()
    model.backbone.layers[-1].spec = model.backbone.layers[0].spec
    with pytest.raises(
        BackboneError, match=r"'layers.1' of 'orb' writes incomplete values, and a readout follows"
    ):
        model(structures()["water"], device="cpu")


def test_sizes_that_cannot_be_are_refused():
    for change, told in {
        "version": 4,
        "forces": "both",
        "energy": "sum",
        "neighbours": 0,
        "cutoff": -1.0,
        "species": ["H", "Og"],
    }.items():
        with pytest.raises(BackboneError, match="ORB"):
            small(**{change: told})
    assert SIZES["features"] % 4 == 0
    with pytest.raises(BackboneError, match="no multiple of 4"):
        small(charged=True, features=6)
