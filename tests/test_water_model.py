"""The shipped water models: what their cards say is what they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from real_data import real_data

import halocline
from halocline.zoo.store import Zoo

SCHNET, MACE = "water-revpbe0d3-schnet", "water-revpbe0d3-mace"
BOX = Path(__file__).parents[1] / "examples" / "water.extxyz"

#: eV/Å, of a displacement of 1e-3 Å in float64: the error of the central difference itself.
FINITE_DIFFERENCE = 1e-4
#: eV/Å³, of a strain of 1e-4, against stresses of about 1e-2.
STRESS_DIFFERENCE = 1e-6
#: Relative. The card was measured on another machine, whose float32 sums may round differently.
CARD = 1e-3


@pytest.fixture(scope="module", params=[SCHNET, MACE])
def potential(request):
    return halocline.load(request.param)


@pytest.fixture
def water():
    return read(BOX)


def test_the_default_is_the_quicker_one():
    assert Zoo().default == SCHNET


@pytest.mark.parametrize("name", [SCHNET, MACE])
def test_they_need_no_download(name):
    zoo = Zoo()
    assert zoo.present(name)
    assert zoo.verify(name).stat().st_size < 10e6


def test_mace_is_the_better_one_on_the_same_unseen_frames():
    cards = [halocline.load(name).card for name in (SCHNET, MACE)]
    assert cards[0]["recipe"]["frames"]["test"] == cards[1]["recipe"]["frames"]["test"]
    schnet, mace = (card["errors"]["force_component_mae_meV_per_A"] for card in cards)
    assert mace < 0.75 * schnet


def test_forces_are_the_gradient(potential, water):
    water.calc = potential.calculator(dtype="float64")
    forces = water.get_forces()
    step = 1e-3
    for atom, axis in [(0, 0), (1, 2), (100, 1)]:
        energies = []
        for sign in (1, -1):
            moved = water.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(potential(moved, dtype="float64").energy)
        assert abs(-(energies[0] - energies[1]) / (2 * step) - forces[atom, axis]) < FINITE_DIFFERENCE


def test_stress_is_the_derivative_by_strain(potential, water):
    stress = potential(water, dtype="float64").stress
    size = 1e-4
    for i, j in [(0, 0), (1, 2)]:
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += 0.5 * sign * size
            strain[j, i] += 0.5 * sign * size
            strained = water.copy()
            strained.set_cell(water.cell.array @ strain, scale_atoms=True)
            energies.append(potential(strained, dtype="float64").energy)
        expected = (energies[0] - energies[1]) / (2 * size * water.get_volume())
        assert abs(expected - stress[i, j]) < STRESS_DIFFERENCE


def test_the_card_says_what_a_user_must_know(potential):
    card = potential.card
    assert set(card["licence"]) == {"code", "weights"}
    assert card["level_of_theory"].startswith("revPBE0-D3")
    assert card["citation"]
    assert card["errors"]["test_frames"] >= 20
    assert "${" in card["recipe"]["data"]["files"][0], "the recipe must not hold a path of one machine"


@pytest.mark.slow
def test_errors_on_the_card_are_those_on_the_unseen_frames(potential):
    folder = real_data("water_revpbe0d3")
    recipe = potential.card["recipe"]
    frames = [frame for file in recipe["data"]["files"] for frame in read(folder / Path(file).name, index=":")]
    unseen = recipe["frames"]["test"]
    assert not set(unseen) & {*recipe["frames"]["train"], *recipe["frames"]["validation"]}
    energy, forces = [], []
    for frame in (frames[i] for i in unseen):
        result = potential(frame)
        energy.append(abs(result.energy - frame.info[recipe["data"]["energy_key"]]) / len(frame))
        forces.append(np.abs(result.forces - frame.arrays[recipe["data"]["forces_key"]]).mean())
    errors = potential.card["errors"]
    assert 1000 * np.mean(forces) == pytest.approx(errors["force_component_mae_meV_per_A"], rel=CARD)
    assert 1000 * np.mean(energy) == pytest.approx(errors["energy_mae_meV_per_atom"], rel=CARD)
