"""Duplicates kept together, fits without validation, and labels under other names."""

import csv
import json
import random

import ase.io
import numpy as np
import pytest

import halocline
from halocline.cli.main import main
from halocline.data.duplicates import SAME, duplicate_groups
from halocline.errors import TrainingError
from halocline.graph import NeighbourList, Radius, Structure
from halocline.training.problem import prepare
from halocline.training.recipe import SplitSettings, make_recipe, read_recipe
from halocline.training.result import make_card
from halocline.training.split import draw_split


def twin(atoms):
    """The same structure turned, renumbered and rounded like in a file, with its labels in that order."""
    order = list(reversed(range(len(atoms))))
    copied = atoms[order]
    copied.rotate(40, (1, 2, 3), rotate_cell=True)
    copied.positions = copied.positions.round(8)
    copied.calc = atoms.calc
    return copied


def graphs_of(frames, cutoff=5.0):
    neighbours = NeighbourList(Radius(cutoff), skin=0.0)
    return {i: neighbours.graph(Structure.from_atoms(atoms)) for i, atoms in enumerate(frames)}


def test_duplicates_are_found_whatever_lies_between_them(argon):
    frames = [*argon[:5], twin(argon[2]), argon[0].copy(), twin(argon[2])]
    assert duplicate_groups(graphs_of(frames)) == [(0, 6), (2, 5, 7)]


def test_a_chain_of_near_frames_is_one_group_and_far_frames_are_none(argon):
    """Cells that are scaled by so little that neighbours of the chain agree, and its ends do not."""
    longest = 5.0
    chain = []
    for step in range(4):
        atoms = argon[0].copy()
        atoms.set_cell(atoms.cell * (1 + step * 0.8 * SAME / longest), scale_atoms=True)
        chain.append(atoms)
    far = argon[0].copy()
    far.set_cell(far.cell * (1 + 10 * SAME), scale_atoms=True)
    assert duplicate_groups(graphs_of([*chain, far], cutoff=4.7)) == [(0, 1, 2, 3)]


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_whole_in_a_drawn_split_of_exact_sizes(seed):
    shuffled = random.Random(seed).sample(range(40), 40)
    groups = [tuple(sorted(shuffled[start:stop])) for start, stop in ((0, 5), (5, 8), (8, 10), (10, 12))]
    settings = SplitSettings(seed=seed, train=20, validation=4, test=10, duplicates="group")
    split = draw_split(40, settings, groups)
    assert [len(frames) for frames in split.purposes().values()] == [20, 4, 10]
    used = [*split.train, *split.validation, *split.test]
    assert len(set(used)) == len(used)
    for group in groups:
        assert sum(bool(set(group) & set(frames)) for frames in split.purposes().values()) <= 1
        assert any(set(group) <= set(s) for s in (*split.purposes().values(), set(range(40)) - set(used)))
    assert draw_split(40, settings, groups) == split


def test_groups_go_to_sets_in_proportion_to_their_sizes():
    """Over 300 draws a pair is tested as often as a frame: 12 of 40, within four standard deviations."""
    settings = [SplitSettings(seed=s, train=20, validation=8, test=12, duplicates="group") for s in range(300)]
    tested = np.mean([0 in draw_split(40, each, [(0, 1)]).test for each in settings])
    assert abs(tested - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 300)


def test_a_group_without_room_is_refused():
    settings = SplitSettings(seed=0, train=2, validation=2, test=2, duplicates="group")
    with pytest.raises(TrainingError, match=r"3 frames show the same structure.*data\.split\.seed"):
        draw_split(6, settings, [(0, 1, 2)])


def test_duplicates_are_refused_or_put_into_one_set(folder, argon, edit_recipe):
    recipe = read_recipe(folder / "recipe.toml")
    split = prepare(recipe, folder).split
    pair = sorted((split.train[0], split.test[0]))
    argon[pair[1]] = twin(argon[pair[0]])
    ase.io.write(folder / "argon.extxyz", argon)
    with pytest.raises(TrainingError, match=r'serves two purposes.*data\.split\.duplicates = "group"'):
        prepare(recipe, folder)
    problem = prepare(read_recipe(edit_recipe("test = 4", 'test = 4\nduplicates = "group"')), folder)
    assert problem.duplicates == [tuple(pair)]
    assert sum(bool(set(pair) & set(frames)) for frames in problem.split.purposes().values()) == 1
    card = make_card(problem, None)["recipe"]
    assert card["data"]["split"]["duplicates"] == "group"
    assert card["duplicates"] == {"groups": 1, "frames": 2, "each_group_in_one_set": True}


def test_without_validation_everything_says_so(folder, edit_recipe, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    edit_recipe("validation = 2\n", "")
    assert main(["train", "recipe.toml", "-o", "run", "--device", "cpu"]) == 0
    said = capsys.readouterr().err
    assert "nothing is validated" in said
    assert said.count("not validated") == 4
    assert "validation: energy" not in said
    rows = list(csv.DictReader((folder / "run" / "metrics.csv").read_text().splitlines()))
    assert [(row["validation_frames"], row["energy_mae"], row["forces_mae"]) for row in rows] == [
        ("0", "", "")
    ] * 4
    card = halocline.load("run/model.safetensors").card
    assert "Nothing was validated" in card["notes"]
    assert card["recipe"]["frames"]["validation"] == []
    assert main(["train", "recipe.toml", "-o", "run", "--device", "cpu", "--resume"]) == 0


def test_training_files_are_enough(folder, edit_recipe):
    edit_recipe("[data.split]\nseed = 1\ntrain = 8\nvalidation = 2\ntest = 4\n", "")
    path = edit_recipe('files = ["argon.extxyz"]', 'train_files = ["argon.extxyz"]')
    problem = prepare(read_recipe(path), folder)
    assert [len(frames) for frames in problem.split.purposes().values()] == [14, 0, 0]
    assert "errors on unseen structures are not known" in make_card(problem, None)["notes"]


def test_a_recipe_that_a_state_or_a_card_holds_reads_back(folder):
    recipe = read_recipe(folder / "recipe.toml")
    assert make_recipe(json.loads(json.dumps(recipe.as_table()))) == recipe
    older = json.loads(json.dumps(recipe.as_table()))
    del older["data"]["split"]["duplicates"]
    assert make_recipe(older) == recipe


def test_labels_under_another_name_are_suggested(folder, argon):
    for atoms in argon:
        energy = atoms.calc.results["energy"]
        atoms.calc.results = {"forces": atoms.calc.results["forces"]}
        atoms.info |= {"dft_total": energy, "step": "a", "converged": True, "dipole": np.zeros(3)}
    ase.io.write(folder / "argon.extxyz", argon)
    with pytest.raises(TrainingError, match=r'energy_key = "dft_total" in \[data\]'):
        prepare(read_recipe(folder / "recipe.toml"), folder)


def test_labels_that_only_some_frames_call_by_the_chosen_name_are_pointed_out(folder, argon, caplog):
    argon[0].info["REF_energy"] = argon[0].get_potential_energy()
    for i in prepare(read_recipe(folder / "recipe.toml"), folder).split.train:
        argon[i].info["REF_energy"] = argon[i].get_potential_energy()
    ase.io.write(folder / "argon.extxyz", argon)
    prepare(read_recipe(folder / "recipe.toml"), folder)
    assert "carry energy but not REF_energy" in caplog.text
