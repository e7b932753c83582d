"""``halocline prune``: a pruned model as a file, and the search for the cheapest one that is good enough."""

import json

import numpy as np
import pytest
from ase.io import read
from rattled_argon import MODEL

import halocline
from halocline.cli.main import main
from halocline.errors import UsageError
from halocline.model.build import build_backbone
from halocline.training.errors import Errors
from halocline.training.pruning import costs
from halocline.training.pruning.budget import Budget
from halocline.training.pruning.costs import TIMED_ATOMS, redundancy, repeated

CARD = {
    "name": "parent",
    "summary": "Whole.",
    "licence": {"code": "MIT", "weights": "MIT"},
    "citation": ["A. Author"],
}


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """Timing decides no test."""
    monkeypatch.setattr(costs, "SECONDS", 0.0)


@pytest.fixture
def parent():
    config = {"species": ["Ar"], "features": 8, "gaussians": 8, "layers": 3, "cutoff": 5.0}
    return halocline.Potential(build_backbone("schnet", config, seed=7).eval(), {"Ar": 0.0}, CARD)


@pytest.fixture
def recipe(folder, edit_recipe, parent):
    """Of a fine-tuning of a model with three layers, two epochs long."""
    parent.save(folder / "parent.safetensors")
    edit_recipe("epochs = 4", "epochs = 2")
    return edit_recipe(MODEL, '[model]\nfrom = "parent.safetensors"\n')


def search(recipe, *words, budget="forces 1000 %", status=0):
    """Run a search, and return what it writes."""
    folder = recipe.parent / "search"
    assert main(["prune", str(recipe), "-o", str(folder), "--budget", budget, "--device", "cpu", *words]) == status
    return json.loads((folder / "curve.json").read_text())


def test_every_depth_is_fitted_and_the_cheapest_good_one_is_chosen(recipe, capsys):
    found = search(recipe, "--then", "channels:keep=0.5")
    points = found["candidates"]
    assert [each["name"] for each in points] == ["unpruned", "2", "1", "1+channels:keep=0.5"]
    assert [each["layers"] for each in points] == [3, 2, 1, 1]
    assert [each["hops"] for each in points] == [3, 2, 1, 1]
    assert [each["receptive_field"] for each in points] == [15.0, 10.0, 5.0, 5.0]
    assert points[0]["time_ratio"] == 1.0
    assert found["chosen"] == min(points, key=lambda each: each["time_ratio"])["name"]
    chosen = halocline.load(recipe.parent / "search" / "pruned.safetensors")
    assert chosen.digest() == halocline.load(found["model"]).digest()
    assert (recipe.parent / "search" / "curve.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr()
    assert "chosen" in printed.out
    assert f"{found['chosen']} is the cheapest" in printed.err


def test_reported_errors_are_those_of_the_models_on_their_frames(recipe):
    (*_, smallest) = search(recipe)["candidates"]
    model = halocline.load(smallest["model"])
    frames = model.card["recipe"]["frames"]["validation"]
    atoms = [read(recipe.parent / "argon.extxyz", i) for i in frames]
    errors = [np.abs(model(each).forces - each.get_forces()) for each in atoms]
    assert smallest["validation"]["forces_mae"] == pytest.approx(1000.0 * np.mean(errors), rel=1e-4)
    assert smallest["test"]["forces_mae"] == model.card["errors"]["force_component_mae_meV_per_A"]
    assert model.card["parent"]["pruned"] == "1"


def test_a_search_that_was_interrupted_ends_like_one_that_was_not(recipe, monkeypatch):
    from halocline.cli import prune_search

    whole = search(recipe)
    recipe.parent.joinpath("search").rename(recipe.parent / "undisturbed")
    told = []

    def interrupt(name, record):
        told.append(name)
        if len(told) == 3:  # in the middle of the second candidate
            raise KeyboardInterrupt

    monkeypatch.setattr(prune_search, "_say_epoch", interrupt)
    assert main(["prune", str(recipe), "-o", str(recipe.parent / "search"), "--budget", "forces 1000 %"]) == 130
    monkeypatch.undo()
    resumed = search(recipe, "--resume")
    for before, after in zip(whole["candidates"], resumed["candidates"], strict=True):
        assert before["validation"] == after["validation"]


def test_another_budget_needs_no_other_fit(recipe, capsys):
    first = search(recipe)
    capsys.readouterr()
    second = search(recipe, "--resume", budget="forces 1e-9 meV/Å", status=1)
    printed = capsys.readouterr().err
    assert "epoch" not in printed
    assert "No candidate is within forces 1e-09 meV/Å" in printed
    assert second["chosen"] is None
    assert not (recipe.parent / "search" / "pruned.safetensors").exists()
    assert [each["validation"] for each in first["candidates"]] == [
        each["validation"] for each in second["candidates"]
    ]


def test_runs_that_are_there_are_not_replaced(recipe, capsys):
    search(recipe)
    assert main(["prune", str(recipe), "-o", str(recipe.parent / "search"), "--budget", "forces 1000 %"]) == 2
    assert "with --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('from = "parent.safetensors"', 'from = "parent.safetensors"\nprune = 2', "it is for the search to prune"),
        ('[model]\nfrom = "parent.safetensors"\n', MODEL, "name the model to prune in model.from"),
        ("validation = 2", "validation = 0", "validates nothing"),
    ],
)
def test_recipes_that_leave_nothing_to_search_are_refused(recipe, edit_recipe, old, new, message, capsys):
    edit_recipe(old, new)
    assert main(["prune", str(recipe), "-o", str(recipe.parent / "search"), "--budget", "forces 50 meV/Å"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipe.toml", "-o", "x"], "needs --budget"),
        (["recipe.toml", "-o", "x", "--budget", "forces 50"], "an error and its unit"),
        (["recipe.toml", "-o", "x", "--budget", "forces 50 %", "--prune", "1"], "leave out --prune"),
        (["recipe.toml", "-o", "x", "--budget", "forces 50 %", "--threads", "0"], "at least 1, not 0"),
        (
            ["recipe.toml", "-o", "x", "--budget", "forces 50 %", "--then", "chanels:keep=1"],
            "did you mean 'channels'",
        ),
        (["parent.safetensors", "-o", "x.safetensors"], "Say with --prune"),
        (["parent.safetensors", "-o", "x.safetensors", "--prune", "9"], "Cannot keep 9 layers"),
        (["parent.safetensors", "-o", "x", "--prune", "1"], r"let it end in .safetensors"),
        (
            ["parent.safetensors", "-o", "x.safetensors", "--prune", "1", "--device", "cpu"],
            "--device is for the recipe",
        ),
        (
            ["parent.safetensors", "-o", "x", "--prune", "1", "--budget", "forces 5 %"],
            "--budget is for the recipe",
        ),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_calls_that_mean_nothing_are_refused(words, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["prune", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "x.safetensors").exists()


def test_a_pruned_file_is_the_pruned_model_and_says_so(parent, tmp_path, capsys):
    whole, small = tmp_path / "whole.safetensors", tmp_path / "small.safetensors"
    parent.save(whole)
    assert main(["prune", str(whole), "--prune", "2+channels:keep=0.5", "-o", str(small), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    made = halocline.load(small)
    assert made.digest() == answer["sha256"]
    expected = halocline.load(whole, prune="2+channels:keep=0.5")
    assert made.backbone.config == expected.backbone.config
    assert all(a.equal(b) for a, b in zip(made.backbone.parameters(), expected.backbone.parameters(), strict=True))
    assert made.card["parent"]["sha256"] == parent.digest()
    assert made.card["parent"]["pruned"] == "2+channels:keep=0.5"
    assert made.card["licence"] == CARD["licence"]
    assert "not accurate" in made.card["notes"]
    assert "summary" not in made.card
    assert main(["prune", str(whole), "--prune", "1", "-o", str(small)]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("forces 50 meV/Å", Budget("forces", 50.0, relative=False)),
        ("forces 0.05 eV/A", Budget("forces", 50.0, relative=False)),
        (" energy 2meV/atom ", Budget("energy", 2.0, relative=False)),
        ("forces 120 %", Budget("forces", 1.2, relative=True)),
    ],
)
def test_budgets_are_read_as_people_write_them(text, expected):
    budget = Budget.parse(text)
    assert budget.most == pytest.approx(expected.most)
    assert (budget.quantity, budget.relative) == (expected.quantity, expected.relative)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an error and its unit"),
        ("50 meV/Å", "an error and its unit"),
        ("force 50 meV/Å", "did you mean 'forces'"),
        ("forces 50 meV/atom", "Errors of forces are in meV/Å or %"),
        ("energy 2 kcal/mol", "Errors of energy are in meV/atom or %"),
        ("forces 0 meV/Å", "must be above 0"),
        ("forces nan meV/Å", "an error and its unit"),
    ],
)
def test_budgets_without_meaning_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        Budget.parse(text)


def test_budgets_hold_up_to_their_bound():
    unpruned, other = Errors(frames=1, forces_mae=100.0), Errors(frames=1, forces_mae=120.0)
    assert Budget.parse("forces 120 %").holds(other, unpruned)
    assert not Budget.parse("forces 119 %").holds(other, unpruned)
    assert Budget.parse("forces 120 meV/Å").holds(other, unpruned)
    with pytest.raises(UsageError, match="No validation frame carries energy"):
        Budget.parse("energy 120 %").holds(other, unpruned)


def test_redundancy_falls_with_depth_and_grows_with_ranks(parent, argon):
    from halocline.graph import NeighbourList, Structure
    from halocline.model.pruner import pruned

    neighbours = NeighbourList(parent.backbone.neighbours, skin=0.0)
    graphs = [neighbours.graph(Structure.from_atoms(atoms)) for atoms in argon[:2]]
    halo = {
        (layers, ranks): redundancy(
            halocline.Potential(pruned(parent.backbone, layers), {"Ar": 0.0}, {}), graphs, ranks
        )
        for layers in (1, 2, 3)
        for ranks in (1, 8, 64)
    }
    for layers in (1, 2, 3):
        assert halo[layers, 1] == pytest.approx(1.0)  # one rank evaluates every edge once
        assert halo[layers, 1] <= halo[layers, 8] <= halo[layers, 64]
    for ranks in (1, 8, 64):
        assert halo[1, ranks] == pytest.approx(1.0)  # one hop: only edges that end at atoms of one's own
    assert halo[2, 64] < halo[3, 64]


def test_periodic_structures_are_repeated_until_work_counts(argon):
    assert TIMED_ATOMS <= len(repeated(argon[0])) < 4 * TIMED_ATOMS
    argon[0].pbc = False
    assert len(repeated(argon[0])) == len(argon[0])


def test_files_of_pruners_are_found_from_where_they_are_named(recipe, parent, tmp_path, monkeypatch):
    """On the command line from the working directory; what a recipe would say is relative to its folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (recipe.parent / "argon.extxyz").rename(elsewhere / "argon.extxyz")
    monkeypatch.chdir(elsewhere)
    recipe.write_text(recipe.read_text().replace('"argon.extxyz"', '"elsewhere/argon.extxyz"'))
    (*_, last) = search(recipe, "--then", "channels:keep=0.5,structures=argon.extxyz")["candidates"]
    assert last["prune"].endswith("channels:keep=0.5,structures=elsewhere/argon.extxyz")
    told = halocline.load(last["model"]).card["parent"]["pruned"]
    assert told == last["prune"]


def test_a_pruned_file_does_not_tell_where_its_structures_were(parent, folder, tmp_path, monkeypatch):
    whole, small = tmp_path / "whole.safetensors", tmp_path / "small.safetensors"
    parent.save(whole)
    prune = f"2+channels:keep=0.5,structures={folder / 'argon.extxyz'}"
    assert main(["prune", str(whole), "--prune", prune, "-o", str(small)]) == 0
    card = halocline.load(small).card
    assert card["parent"]["pruned"] == "2+channels:keep=0.5,structures=argon.extxyz"
    assert str(folder) not in json.dumps(card)
