"""A fit that starts from a model: what it takes over, what it refuses, and what its card owes to the parent."""

import hashlib

import ase.io
import numpy as np
import pytest
import torch
from rattled_argon import MODEL

import halocline
from halocline.errors import BackboneError, TrainingError, UsageError
from halocline.model import Backbone
from halocline.model.build import build_backbone
from halocline.model.heads import with_one_head
from halocline.model.widening import widened
from halocline.training.device import make_fabric
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.result import finish, make_card
from halocline.training.run import TrainingRun

#: Backbones with weights, and what their first config lacks to be built.
TRAINABLE = ["schnet", "m3gnet", "mace"]

#: Of sums in another order, in float64, relative to energies of some eV.
ROUNDING = 1e-12

CARD = {
    "name": "parent",
    "level_of_theory": "Lennard-Jones",
    "licence": {"code": "MIT", "weights": "LicenseRef-ASL"},
    "citation": ["A. Author, J. Exp. 1, 1 (2001)"],
}


def parent_of(backbone, species=("Ar",), card=None, **config):
    """A model of two layers with new weights."""
    kind = {"schnet": {"features": 8, "gaussians": 8, "cutoff": 5.0}}.get(backbone, {"cutoff": 5.0})
    built = build_backbone(backbone, kind | {"species": list(species), "layers": 2} | config, seed=7)
    energies = {symbol: -1.5 - place for place, symbol in enumerate(species)}
    return halocline.Potential(built.eval(), energies, CARD if card is None else card)


@pytest.fixture
def start_from(folder, edit_recipe):
    """Write the recipe of a fit from a model, with more keys of ``[model]``."""

    def start(potential, keys=""):
        potential.save(folder / "parent.safetensors")
        return edit_recipe(MODEL, f'[model]\nfrom = "parent.safetensors"\n{keys}\n')

    return start


def run_of(path, output="run", *, resume=False):
    recipe = read_recipe(path)
    problem = prepare(recipe, path.parent)
    return TrainingRun(problem, path.parent / output, make_fabric("cpu", "float32"), resume=resume)


def test_the_fit_begins_with_the_parents_weights_and_energies(start_from):
    potential = parent_of("schnet")
    path = start_from(potential, '[references]\nkind = "keep"')
    problem = prepare(read_recipe(path), path.parent)
    for name, weights in potential.backbone.state_dict().items():
        assert torch.equal(problem.backbone.state_dict()[name], weights), name
    assert problem.reference_energies == potential.reference_energies
    assert problem.parent.digest() == potential.digest()
    assert problem.backbone.training


@pytest.mark.parametrize("prune", ["1", '"1"', '"depth:layers=1"'])
def test_it_is_pruned_first_and_the_parent_is_not(start_from, prune):
    potential = parent_of("schnet")
    path = start_from(potential, f"prune = {prune}")
    run = run_of(path)
    assert len(run.problem.backbone.layers) == 1
    assert run.problem.parent.digest() == potential.digest()
    run.train(lambda record: None)
    fitted, errors = finish(run, "cpu")
    assert fitted.backbone.config == potential.backbone.config | {"layers": 1}
    assert errors.frames == 4
    assert fitted.card["parent"]["pruned"] in (1, "1", "depth:layers=1")
    changed = fitted.backbone.state_dict()["readout.out.weight"]
    assert not torch.equal(changed, potential.backbone.state_dict()["readout.out.weight"])


def test_what_the_recipe_says_of_the_architecture_must_be_true(start_from):
    same = 'backbone = "schnet"\n[model.config]\nfeatures = 8\ncutoff = 5.0\nspecies = ["Ar"]'
    path = start_from(parent_of("schnet"), same)
    assert prepare(read_recipe(path), path.parent).parent is not None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("[model.config]\ncutoff = 4.0", r"model\.config\.cutoff is 4\.0, but parent\.safetensors has 5\.0"),
        ("[model.config]\nlayers = 1", r"model\.config\.layers is 1.*model\.prune changes it"),
        ('[model.config]\nspecies = ["Ar", "Ne"]', r"model\.config\.species.*model\.new_elements changes it"),
        ("[model.config]\ncutof = 5.0", r"model\.config.*did you mean 'cutoff'"),
        ('backbone = "mace"', r"model\.backbone is 'mace', but parent\.safetensors is a 'schnet'"),
        ('head = "pbe"', r"model\.head is 'pbe', but parent\.safetensors has no heads"),
        ("prune = 3", r"model\.prune: Cannot keep 3 layers"),
        ("prune = true", r"model\.prune must be a whole number or text"),
        ('new_elements = ["Ar"]', r"model\.new_elements: The model knows Ar already"),
        ('new_elements = ["Xx"]', r"model\.new_elements must be a list of different chemical symbols"),
    ],
)
def test_what_does_not_fit_the_parent_is_refused_by_key(start_from, keys, message):
    path = start_from(parent_of("schnet"), keys)
    with pytest.raises(UsageError, match=message):
        prepare(read_recipe(path), path.parent)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ('from = "water-revpbe0d3-shnet"', r"model\.from: .*did you mean 'water-revpbe0d3-schnet'"),
        ('from = ""', r"model\.from must be the name of a model, or its file"),
        ('backbone = "schnet"\nprune = 2', r"model\.prune is about a model to start from"),
        ('backbone = "schnet"\nnew_elements = ["Ne"]', r"model\.new_elements is about a model"),
        ("", r"lacks model\.backbone, or model\.from"),
    ],
)
def test_a_model_that_is_not_there_or_not_named_is_refused(folder, edit_recipe, model, message):
    path = edit_recipe(MODEL, f"[model]\n{model}\n")
    with pytest.raises(UsageError, match=message):
        prepare(read_recipe(path), folder)


def test_elements_that_the_parent_does_not_know_are_refused_by_name(start_from):
    path = start_from(parent_of("schnet", ("Ne", "Kr")))
    with pytest.raises(TrainingError, match=r"contains Ar, but.*add to model\.new_elements"):
        prepare(read_recipe(path), path.parent)


def test_a_new_element_that_no_training_frame_contains_is_refused(start_from):
    path = start_from(parent_of("schnet"), 'new_elements = ["Ne"]')
    with pytest.raises(TrainingError, match=r"model\.new_elements names Ne, but no training frame contains it"):
        prepare(read_recipe(path), path.parent)


def test_new_elements_have_the_reference_energies_that_the_others_leave(start_from, folder, argon):
    for atoms in argon:
        atoms.numbers[0] = 10
        atoms.calc.atoms = atoms.copy()
        atoms.calc.results["energy"] = -1.5 * 3 - 4.0
    ase.io.write(folder / "argon.extxyz", argon)
    potential = parent_of("schnet")
    path = start_from(potential, 'new_elements = ["Ne"]\n[references]\nkind = "keep"')
    problem = prepare(read_recipe(path), path.parent)
    assert problem.backbone.species == ("Ar", "Ne")
    # One in each frame, so that it takes the mean of what the network leaves as well.
    start = halocline.Potential(problem.backbone, {"Ar": 0.0, "Ne": 0.0}, {})
    network = np.mean([start(argon[i], dtype="float64", device="cpu").energy for i in problem.split.train])
    assert problem.reference_energies == pytest.approx({"Ar": -1.5, "Ne": -4.0 - network}, abs=100.0 * ROUNDING)
    assert problem.references_determined


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_wider_model_gives_what_it_gave(name, argon):
    """And an atom of a new element, in the place of all, has features that come of the others' mean."""
    potential = parent_of(name, ("Ar", "Ne"), card={})
    wide = widened(potential.backbone, ["Xe", "He"])
    assert wide.species == ("Ar", "Ne", "Xe", "He")
    energies = potential.reference_energies | {"Xe": 0.0, "He": 0.0}
    after = halocline.Potential(wide.eval(), energies, {})
    atoms = argon[0].copy()
    atoms.numbers[1] = 10
    before, now = (each(atoms, dtype="float64", device="cpu") for each in (potential, after))
    assert now.energy == pytest.approx(before.energy, abs=ROUNDING)
    np.testing.assert_allclose(now.forces, before.forces, atol=ROUNDING)
    xenon, helium = (atoms.copy(), atoms.copy())
    xenon.numbers[:], helium.numbers[:] = 54, 2
    new = [after(each, dtype="float64", device="cpu").energy for each in (xenon, helium)]
    assert np.isfinite(new).all()
    assert new[0] == pytest.approx(new[1], abs=ROUNDING)  # both are the average atom


def test_rows_of_new_elements_are_means_and_those_of_others_stay():
    backbone = parent_of("schnet", ("H", "O")).backbone
    before, after = (each.embed.table.weight for each in (backbone, widened(backbone, ["Li"])))
    assert torch.equal(after[3], (before[1] + before[8]) / 2)
    others = [row for row in range(len(before)) if row != 3]
    assert torch.equal(after[others], before[others])
    agnostic = {"channels": 4, "first_block": "agnostic", "radial_units": [4]}
    backbone = parent_of("mace", ("H", "O"), **agnostic).backbone
    wide = widened(backbone, ["Li"])
    for name, weights in backbone.named_parameters():
        now = wide.get_parameter(name)
        if now.shape != weights.shape:
            assert torch.equal(now[:2], weights), name
            assert torch.equal(now[2], weights.mean(0)), name
    radii = wide.embed.radii
    assert radii[2] > radii[0]  # of lithium, which is no mean


def test_a_backbone_that_does_not_say_where_its_elements_are_is_refused_by_name(monkeypatch):
    backbone = parent_of("schnet").backbone
    monkeypatch.setattr(type(backbone), "numbered_weights", ())
    with pytest.raises(BackboneError, match=r"'schnet' does not say which of its weights belong to elements"):
        widened(backbone, ["Ne"])


def test_one_head_gives_what_that_head_gave(start_from, argon):
    heads = {
        "heads": ["pbe", "r2scan"],
        "head_scales": [1.0, 0.5],
        "head_energies": [0.0, -3.0],
        "channels": 4,
        "radial_units": [4],
        "max_degree": 1,
    }
    potential = parent_of("mace", **heads)
    path = start_from(potential, 'head = "r2scan"')
    problem = prepare(read_recipe(path), path.parent)
    single = problem.parent
    assert single.reference_energies == {"Ar": -4.5}
    for one, other in ((potential(argon[0], head="r2scan"), single(argon[0])),):
        assert other.energy == pytest.approx(one.energy, abs=1e-5)  # eV; float32
    assert problem.origin.digest == potential.digest()
    path.write_text(path.read_text().replace('head = "r2scan"', 'head = "scan"'))
    with pytest.raises(UsageError, match=r"model\.head: .*did you mean 'r2scan'"):
        prepare(read_recipe(path), path.parent)
    path.write_text(path.read_text().replace('head = "scan"', ""))
    with pytest.raises(UsageError, match=r"has the heads pbe, r2scan; say in model\.head"):
        prepare(read_recipe(path), path.parent)


def test_a_backbone_that_cannot_part_with_its_heads_says_so():
    backbone = parent_of("mace").backbone
    backbone.one_head_config = lambda head: Backbone.one_head_config(backbone, head)
    with pytest.raises(BackboneError, match=r"'mace' does not say how 'pbe' is separated"):
        with_one_head(backbone, "pbe")


def chgnet():
    """A parent that also tells moments."""
    sizes = {"features": 4, "readout_layers": 1, "radial": 3, "angular": 3}
    return parent_of("chgnet", **sizes, bond_cutoff=4.0)


def test_moments_are_left_out_of_what_is_fitted(start_from, argon, caplog):
    potential = chgnet()
    run = run_of(start_from(potential))
    assert "also tells magmoms, which no label would correct" in caplog.text
    before = potential(argon[0], dtype="float64")
    bare = halocline.Potential(run.problem.backbone, potential.reference_energies, {})
    start = bare(argon[0], dtype="float64")
    assert start.energy == before.energy
    assert np.array_equal(start.forces, before.forces)
    run.train(lambda record: None)
    model, _ = finish(run, "cpu")
    found = model(argon[0], dtype="float64")
    assert before.magmoms is not None
    assert found.magmoms is None
    assert model.card["parent"]["without"] == "magmoms"


def test_a_backbone_that_cannot_leave_moments_out_says_so(start_from, monkeypatch):
    potential = chgnet()
    path = start_from(potential)
    monkeypatch.setattr(type(potential.backbone), "energies_only_config", Backbone.energies_only_config)
    with pytest.raises(BackboneError, match="'chgnet' does not say how magmoms are left out"):
        prepare(read_recipe(path), path.parent)


def test_a_resumed_run_is_that_of_the_same_parent(start_from, folder):
    path = start_from(parent_of("schnet"))

    def stop(record):
        raise KeyboardInterrupt

    straight = run_of(path, "straight")
    straight.train(lambda record: None)
    broken = run_of(path, "broken")
    with pytest.raises(KeyboardInterrupt):
        broken.train(stop)
    resumed = run_of(path, "broken", resume=True)
    resumed.train(lambda record: None)
    for name, tensor in straight.trainer.tensors().items():
        assert torch.equal(tensor, resumed.trainer.tensors()[name]), name
    parent_of("schnet", features=16).save(folder / "parent.safetensors")
    with pytest.raises(TrainingError, match=r"started from another model than parent\.safetensors is now"):
        run_of(path, "broken", resume=True)


def fitted_card(path):
    return finish(run_of(path), "cpu")[0].card


def test_the_card_keeps_what_it_owes_to_the_parent(start_from, folder):
    potential = parent_of("schnet")
    path = start_from(potential, "prune = 1")
    card = fitted_card(path)
    assert card["parent"] == {
        "name": "parent",
        "sha256": potential.digest(),
        "level_of_theory": "Lennard-Jones",
        "licence_of_code": "MIT",
        "licence_of_weights": "LicenseRef-ASL",
        "pruned": 1,
    }
    assert card["licence"] == CARD["licence"]
    assert card["citation"] == CARD["citation"]
    assert card["name"] == "argon"
    assert "level_of_theory" not in card  # the data may be of another
    assert card["recipe"]["model"]["from"] == "parent.safetensors"
    path.write_text(path.read_text().replace('"parent.safetensors"', f'"{folder}/parent.safetensors"'))
    card = fitted_card(path)
    assert str(folder) not in str(card)


def test_no_licence_of_an_ancestor_is_dropped_silently(start_from, folder):
    path = start_from(parent_of("schnet"))
    other = 'name = "argon"\nlicence = { code = "MIT", weights = "MIT" }'
    path.write_text(path.read_text().replace('name = "argon"', other))
    run = run_of(path)
    child, _ = finish(run, "cpu")
    assert child.card["licence"]["weights"] == "MIT"
    assert "parent.safetensors (LicenseRef-ASL)" in child.card["notes"]
    child.save(folder / "parent.safetensors")
    path.write_text(path.read_text().replace(other, 'name = "argon"'))
    card = fitted_card(path)
    assert card["licence"]["weights"] == "MIT"
    assert card["parent"]["parent"]["licence_of_weights"] == "LicenseRef-ASL"
    assert "parent (LicenseRef-ASL)" in card["notes"]


@pytest.mark.parametrize("place", ["frames/argon.extxyz", "absolute", "variable"])
def test_structures_to_prune_by_are_relative_to_the_recipe(
    start_from, folder, place, tmp_path_factory, monkeypatch
):
    (folder / "frames").mkdir()
    file = folder / "frames" / "argon.extxyz"
    file.write_bytes((folder / "argon.extxyz").read_bytes())
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("SOME_FOLDER", str(file.parent))
    name = {"absolute": str(file), "variable": "${SOME_FOLDER}/argon.extxyz"}.get(place, place)
    potential = parent_of("schnet")
    path = start_from(potential, f'prune = "1+channels:keep=0.5,structures={name}"')
    problem = prepare(read_recipe(path), folder)
    expected = halocline.load(folder / "parent.safetensors", prune=f"1+channels:keep=0.5,structures={file}")
    for key, weights in expected.backbone.state_dict().items():
        assert torch.equal(problem.backbone.state_dict()[key], weights), key
    card = make_card(problem, None)
    told = f"1+channels:keep=0.5,structures={'argon.extxyz' if place == 'absolute' else name}"
    assert card["parent"]["pruned"] == card["recipe"]["model"]["prune"] == told
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["parent"]["pruned_by_sha256"] == f"{told.rpartition('=')[2]} {digest}"
    assert problem.parent_digest.endswith(digest)  # so that a fit goes on with the same file only
    assert str(folder) not in repr(card)
