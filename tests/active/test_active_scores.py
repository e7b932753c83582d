"""Scores, cutoffs and splits of active learning are what their definitions say."""

from pathlib import Path

import numpy as np
import pytest
from rattled_argon import RECIPE
from scipy.special import erfinv

from halocline.active.recipe import read_active_recipe
from halocline.active.score import chosen, component_spread, cutoff_of, score
from halocline.active.settings import ActiveSettings
from halocline.active.splits import PoolSplit
from halocline.errors import UsageError
from halocline.evaluator.result import Difference, Spread
from halocline.typed_table import read_table

RNG = np.random.default_rng(4)


def test_a_score_weighs_energy_and_forces():
    forces = np.array([[0.3, -0.6, 0.0], [0.0, 0.0, 0.3], [0.0, 0.0, 0.0]])
    assert score(-0.6, forces, energy_weight=1.0) == pytest.approx(0.2)
    assert score(-0.6, forces, energy_weight=1.0, atoms_per_molecule=3) == pytest.approx(0.6)
    assert score(-0.6, forces, energy_weight=0.0) == pytest.approx(1.2 / 9)
    assert score(-0.6, forces, energy_weight=0.25) == pytest.approx(0.25 * 0.2 + 0.75 * 1.2 / 9)


def test_a_score_does_not_depend_on_the_order_of_atoms_or_the_number_of_copies():
    forces, energy = RNG.normal(size=(6, 3)), 0.7
    one = score(energy, forces, energy_weight=0.3, atoms_per_molecule=3)
    assert score(energy, RNG.permutation(forces), energy_weight=0.3, atoms_per_molecule=3) == pytest.approx(one)
    two = score(2 * energy, np.concatenate([forces, forces]), energy_weight=0.3, atoms_per_molecule=3)
    assert two == pytest.approx(one)


def test_spreads_of_components_make_up_those_of_vectors():
    forces = RNG.normal(size=(3, 5, 3))
    forces -= forces.mean(axis=0)
    spread = Spread.of([Difference(np.zeros(5), each, None) for each in forces])
    components = component_spread(spread)
    np.testing.assert_allclose(components, forces.std(axis=0))
    np.testing.assert_allclose(np.linalg.norm(components, axis=1), spread.forces)


def test_the_cutoff_is_mean_and_deviations():
    scores = RNG.lognormal(size=1000)
    assert cutoff_of(scores, 0.15) == pytest.approx(scores.mean() + erfinv(0.85) * scores.std())
    assert cutoff_of(scores, 1.0) == pytest.approx(scores.mean())
    assert cutoff_of([0.25], 0.15) == 0.25
    normal = RNG.normal(10.0, 1.0, 100_000)
    above = np.mean(normal >= cutoff_of(normal, 0.15))
    assert above == pytest.approx(0.154, abs=0.005)  # as the docstring has it


def test_the_worst_are_chosen_up_to_a_part_of_all():
    scores = [0.5, 0.1, 0.9, 0.5, 0.3, 0.7]
    assert chosen(scores, 0.5, 1.0) == [2, 5, 0, 3]
    assert chosen(scores, 0.5, 0.5) == [2, 5, 0]
    assert chosen(scores, 0.8, 0.5) == [2]
    assert chosen(scores, 0.0, 0.1) == []  # of six, a tenth is none
    assert chosen(scores, 1.0, 1.0) == []
    assert chosen([0.1, float("inf")], 0.5, 1.0) == [1]
    assert chosen([], 0.5, 1.0) == []


def split():
    return PoolSplit(train=(0, 1), validation=(2,), test=(3,), reserve=tuple(range(4, 20)))


def test_draws_follow_from_seed_and_iteration_alone():
    one, other = split().drawn(5, 7, 0), split().drawn(5, 7, 0)
    assert one == other
    assert one.examine != split().drawn(5, 8, 0).examine
    assert one.examine != split().drawn(5, 7, 1).examine
    assert len(one.examine) == len(set(one.examine)) == 5
    assert set(one.examine) <= set(one.reserve)
    assert split().drawn(99, 7, 0).examine == split().reserve


def test_what_is_chosen_moves_and_nothing_else_does():
    first = split().drawn(6, 0, 0)
    taken = first.examine[2], first.examine[0]
    second = first.grown(taken)
    assert second.train == (0, 1, *taken)
    assert second.add == taken
    assert set(second.reserve) == set(first.reserve) - set(taken)
    assert (second.validation, second.test, second.examine) == (first.validation, first.test, ())
    labelled = first.grown(taken, [20])  # one of the two could not be labelled
    assert labelled.train == (0, 1, 20)
    assert labelled.reserve == second.reserve


def test_every_file_has_its_own_numbers():
    parts = split().drawn(16, 0, 0).by_file([3, 0, 10, 7])
    assert parts[0]["train"] == [0, 1]
    assert parts[0]["validation"] == [2]
    assert not any(parts[1].values())
    assert parts[2]["test"] == [0]
    assert parts[2]["reserve"] == list(range(1, 10))
    assert parts[3]["reserve"] == parts[3]["examine"] == list(range(7))


def test_the_example_is_a_recipe():
    recipe = read_active_recipe(Path(__file__).parents[2] / "examples/active_3bpa.toml")
    assert [recipe.fit(i, 1).epochs for i in (0, 1, 5, 6)] == [200, 60, 60, 300]
    assert recipe.fit(3, 1).seed == recipe.training.training.seed + 1


GOOD = {"iterations": 3, "examine": 10}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"iterations": 0}, "active.iterations must be at least 1, not 0"),
        ({"examine": 2.5}, "active.examine must be a whole number"),
        ({"energy_weight": 1.5}, "active.energy_weight must be between 0 and 1"),
        ({"quantile": 0.0}, "active.quantile"),
        ({"largest_fraction": 1.1}, "active.largest_fraction"),
        ({"cutoff": float("nan")}, "active.cutoff"),
        ({"criterion": "spred"}, "active.criterion must be 'errors' or 'spread'"),
        ({"criterion": "spread"}, "needs a committee"),
        ({"labelled": False, "members": 2}, "Without labels there are no errors"),
        ({"exmaine": 3}, "did you mean 'examine'"),
        ({"pool_files": [""]}, "active.pool_files"),
        ({"end_epochs": 0}, "active.end_epochs"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, sentence):
    with pytest.raises(UsageError, match=sentence.replace("[", r"\[")):
        read_table(ActiveSettings, GOOD | changes, "active")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ("", r"no table \[active\]"),
        ("later_epochs = 2\n", r"with active\.later_epochs: training\.schedule\.epochs"),
        ("end_epochs = 2\n", r"with active\.end_epochs: training\.schedule\.epochs"),
        ('[data.replay]\nfiles = ["a.extxyz"]\nframes = 1\n', "does not replay"),
        ('members = 2\ncriterion = "spread"\nlabelled = false\n', "leave the units out"),
    ],
)
def test_recipes_that_a_later_iteration_would_refuse_are_refused(tmp_path, changes, sentence):
    text = RECIPE[: RECIPE.index("[active]")].replace("[data.split]", 'length_unit = "Bohr"\n[data.split]')
    if "replay" in changes:
        text = text.replace("backbone =", 'from = "argon.safetensors"\nbackbone =')
    text += '[training.schedule]\nkind = "steps"\nepochs = [3]\n'
    if changes:
        text += f"[active]\niterations = 2\nexamine = 3\n{changes}"
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(UsageError, match=sentence):
        read_active_recipe(tmp_path / "recipe.toml")
