"""Models of MACE with several heads: the head is chosen in the call or by the structure, everywhere alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from mace_files import write_mace
from oracles.mace.models import HEAD_ENERGIES, HEAD_SHIFTS, MODELS, NUMBERS
from oracles.mace.records import FOLDER, answer_name, read_answers
from oracles.mace.structures import structures
from test_mace_parity import AGREEMENT, potential, require_close, tensors

from halocline.aggregation import Form
from halocline.errors import BackboneError, StructureError, UsageError
from halocline.graph import NeighbourList
from halocline.lowering import lower_structure
from halocline.model.config import read_config
from halocline.model.pruner import pruned
from halocline.partition import whole
from halocline.plugins.backbones.mace.config import MACEConfig
from halocline.potential.combined import committee_of
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.program.layout import lay_out
from halocline.zoo.imported import import_model

WITH_DEFAULT, WITHOUT = "heads-residual-L1", "heads-density-L0"
WATER = structures()["molecule-3"]


def answers(name):
    return read_answers(FOLDER / f"{name}.npz")[0]


def told(atoms, head):
    atoms = atoms.copy()
    atoms.info["head"] = head
    return atoms


def test_the_head_called_default_answers_where_none_is_chosen():
    model = potential(WITH_DEFAULT)
    for key, atoms in structures().items():
        found = model(atoms, dtype="float64", device="cpu")
        require_close(found, answers(WITH_DEFAULT)[key], AGREEMENT["float64"])


def test_without_such_a_head_one_has_to_be_chosen():
    model = potential(WITHOUT)
    with pytest.raises(StructureError, match=r"needs its head \(omat_pbe, spice_wb97m\).*--head"):
        model(WATER)
    with pytest.raises(UsageError, match=r"no head named 'pbe'.*omat_pbe"):
        model(WATER, head="pbe")
    with pytest.raises(UsageError, match="no heads to choose from"):
        potential("residual-L0")(WATER, head="pbe")


@pytest.mark.parametrize("name", [WITH_DEFAULT, WITHOUT, "heads-one-layer"])
def test_structures_of_one_batch_may_have_different_heads(name):
    model, heads = potential(name), MODELS[name]["heads"]
    several = [told(atoms, head) for atoms in structures().values() for head in heads]
    names = [answer_name(key, head) for key in structures() for head in heads]
    for found, key in zip(model(several, dtype="float64", device="cpu"), names, strict=True):
        require_close(found, answers(name)[key], AGREEMENT["float64"])


@pytest.mark.parametrize("options", [{"partition": "rcb:2"}, {"partition": "rcb:2", "halo": "exchange"}], ids=str)
def test_parts_know_the_head(options):
    model = potential(WITHOUT)
    for head in MODELS[WITHOUT]["heads"]:
        found = model(structures()["crystal-0"], dtype="float64", device="cpu", head=head, **options)
        require_close(found, answers(WITHOUT)[answer_name("crystal-0", head)], AGREEMENT["float64"])


def test_single_precision_does_not_carry_what_isolated_atoms_of_a_head_have():
    """Some heads differ by 10⁵ eV for an atom, of which float32 would lose 10⁻² eV."""
    model = potential(WITH_DEFAULT)
    far = [energy - 1e5 for energy in model.backbone.config["head_energies"]]
    changed = dict(model.backbone.config) | {"head_energies": far}
    backbone = type(model.backbone).from_config(changed)
    backbone.load_state_dict(model.backbone.state_dict())
    moved = Potential(backbone.eval(), model.reference_energies, {})
    near, away = (each(WATER, dtype="float32", device="cpu", head="PBE") for each in (model, moved))
    np.testing.assert_allclose(away.energies + 1e5, near.energies, rtol=0, atol=1e-9)


def test_a_calculator_follows_the_head_that_atoms_state():
    model, atoms = potential(WITHOUT), WATER.copy()
    atoms.calc = model.calculator(dtype="float64", device="cpu")
    for head in MODELS[WITHOUT]["heads"] * 2:
        atoms.info["head"] = head
        answer = answers(WITHOUT)[answer_name("molecule-3", head)]
        assert atoms.get_potential_energy() == pytest.approx(answer.energy, rel=AGREEMENT["float64"])
        np.testing.assert_allclose(atoms.get_potential_energies(), answer.energies, rtol=AGREEMENT["float64"])


def test_isolated_atoms_have_the_energies_of_each_head():
    model = potential(WITH_DEFAULT)
    for head, energies, shift in zip(MODELS[WITH_DEFAULT]["heads"], HEAD_ENERGIES, HEAD_SHIFTS, strict=True):
        beyond = model.backbone.head_energies[head]
        found = [model.reference_energies[symbol] + beyond[symbol] for symbol in model.species]
        np.testing.assert_allclose(found, np.array(energies) + shift, rtol=0, atol=1e-12)
    assert len(model.species) == len(NUMBERS)


def test_pruned_models_have_the_heads_of_the_whole():
    model = potential(WITHOUT)
    shallow = Potential(pruned(model.backbone, 1), model.reference_energies, {})
    energies = {shallow(WATER, dtype="float64", head=head).energy for head in MODELS[WITHOUT]["heads"]}
    assert len(energies) == 2


def test_a_saved_model_answers_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    import_model(write_mace(tmp_path / "mine.model", *tensors(WITHOUT)), "mine")
    import halocline

    model = halocline.load("mine")
    for head in MODELS[WITHOUT]["heads"]:
        found = model(told(WATER, head), dtype="float64", device="cpu")
        require_close(found, answers(WITHOUT)[answer_name("molecule-3", head)], AGREEMENT["float64"])


@pytest.mark.slow
def test_structure_programs_contain_the_energies_of_the_head():
    model = potential("heads-one-layer")
    frozen = FrozenModel.freeze(model.backbone, Precision.FLOAT64, Capabilities.reference(Form.TABLE))
    program = lower_structure(frozen, model.reference_energies)
    for head in MODELS["heads-one-layer"]["heads"]:
        structure = model.prepare(WATER, head).structure
        graph = NeighbourList(model.backbone.neighbours).graph(structure)
        inputs = lay_out(graph, whole(len(WATER), graph.edges, model.backbone.hops), Form.TABLE, Precision.FLOAT64)
        tensors = {
            "positions": torch.from_numpy(structure.positions),
            "cell": torch.from_numpy(structure.cell),
            "shifts": torch.zeros((*inputs.mask.shape, 3), dtype=torch.float64),
            "head": torch.from_numpy(structure.conditions["head"][:1]),
            **{name: getattr(inputs, name) for name in ("species", "neighbours", "mask", "transposed")},
        }
        energies = program(*(tensors[value.name] for value in program.manifest.inputs))[0]
        answer = answers("heads-one-layer")[answer_name("molecule-3", head)]
        np.testing.assert_allclose(energies, answer.energies, rtol=AGREEMENT["float64"], atol=0)


def test_committees_of_such_heads_are_refused():
    model = potential(WITH_DEFAULT)
    with pytest.raises(UsageError, match="reference energies of their own"):
        committee_of(model, model)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": ("a",)}, "two different names or more"),
        ({"heads": ("a", "a")}, "two different names or more"),
        ({"default_head": "b"}, "none of its heads"),
        ({"head_scales": (1.0,)}, "head_scales must be 3 numbers"),
        ({"head_energies": ()}, "head_energies must be 9 numbers"),
        ({"head_scales": (1.0, 2.0, float("nan"))}, "head_scales"),
    ],
)
def test_heads_that_contradict_each_other(changes, words):
    config = read_config(MACEConfig, potential(WITH_DEFAULT).backbone.config, "mace")
    with pytest.raises(BackboneError, match=words):
        dataclasses.replace(config, **changes)
