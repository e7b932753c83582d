"""Where a structure lies outside of what its model was made from, that is said; far outside, dynamics stops."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.data import chemical_symbols
from ase.io import read, write
from real_data import real_data
from structures import random_structure

import halocline
from halocline.applicability import COVALENT_FRACTION, Applicability, describe
from halocline.checkpoint.card import check_card
from halocline.cli.main import main
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.errors import CheckpointError, DynamicsError, StructureError, UsageError
from halocline.graph import Contacts, Nearest, NeighbourList, Radius, Structure

WATER = "water-revpbe0d3-schnet"
EXAMPLE = "examples/water.extxyz"
CELLS = [{"pbc": False}, {"pbc": True, "edge": (4.0, 4.5)}, {"pbc": True, "edge": (2.0, 2.4), "atoms": 2}]


@pytest.fixture
def water():
    return halocline.load(WATER)


def near(distance, symbols="OH"):
    return Atoms(symbols, positions=[(0, 0, 0), (0, 0, distance)])


def by_brute_force(graph, owned):
    """Shortest distance of each two elements, and fewest and most neighbours of each, in plain loops."""
    numbers, shortest, counts = graph.structure.numbers, {}, {}
    for receiver, sender, vector in zip(graph.edges.receivers, graph.edges.senders, graph.vectors, strict=True):
        pair = tuple(sorted((numbers[receiver], numbers[sender])))
        shortest[pair] = min(shortest.get(pair, np.inf), float(np.linalg.norm(vector)))
    for atom in range(owned):
        counts.setdefault(numbers[atom], []).append(int((graph.edges.receivers == atom).sum()))
    return shortest, {number: (min(each), max(each)) for number, each in counts.items()}


@pytest.mark.parametrize("rule", [Radius(3.0), Nearest(4)])
@pytest.mark.parametrize("case", range(len(CELLS)))
def test_contacts_are_those_of_plain_loops(rule, case):
    atoms = random_structure(case, symbols=("H", "O", "Si"), **CELLS[case])
    graph = NeighbourList(rule).graph(Structure.from_atoms(atoms))
    owned = len(atoms) // 2 + 1
    contacts = Contacts.of(graph, owned)
    shortest, counts = by_brute_force(graph, owned)
    for i, first in enumerate(contacts.elements):
        for j, second in enumerate(contacts.elements):
            expected = shortest.get(tuple(sorted((first, second))), np.inf)
            assert contacts.shortest[i, j] == pytest.approx(expected, rel=1e-12)
            pair = contacts.pairs[i, j]
            assert (pair[0] < 0) == np.isinf(expected)
            if pair[0] >= 0:
                assert sorted(atoms.numbers[pair]) == sorted((first, second))
        if first in counts:
            assert (contacts.fewest[i], contacts.most[i]) == counts[first]


PATHS = [
    {"partition": "rcb:3"},
    {"partition": "rcb:2", "halo": "exchange"},
    {"backend": "onnx:threads=1"},
    {"backend": "ddp:ranks=2"},
    {"backend": "ddp:ranks=2", "halo": "exchange"},
]


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_every_path_sees_the_same(water, path):
    atoms = read(EXAMPLE)
    atoms.positions[5] = atoms.positions[100] + (0.4, 0.0, 0.0)
    expected, found = water(atoms, device="cpu"), water(atoms, device="cpu", **path)
    assert expected.outside[0].key == "-".join(sorted(atoms[[5, 100]].symbols))
    assert "atoms 5 and 100" in expected.outside[0].text
    assert found.outside == expected.outside
    for name in ("elements", "shortest", "pairs", "fewest", "most"):
        np.testing.assert_array_equal(getattr(found.contacts, name), getattr(expected.contacts, name))


def test_it_is_said_once_and_kept_in_every_result(water, caplog):
    with caplog.at_level(logging.WARNING, "halocline"):
        for distance in (0.7, 0.65, 0.6):
            assert water(near(distance)).outside[0].nearness == pytest.approx(distance / 0.7597)
        water.calculator().get_potential_energy(near(0.5))
    texts = [record.getMessage() for record in caplog.records]
    assert sum("H and O (atoms 0 and 1) are 0.700 Å apart, nearer than any" in text for text in texts) == 1
    assert len(texts) == 3  # and once each of neighbours of H and of O


def test_without_distances_on_the_card_covalent_radii_stand_in(water):
    model = dataclasses.replace(water, card={})
    limit = COVALENT_FRACTION * (0.66 + 0.31)
    assert model(near(limit + 0.001)).outside == ()
    (remark,) = model(near(limit - 0.001)).outside
    assert remark.key == "H-O"
    assert "covalent radii" in remark.text


def test_pairs_that_training_never_had_are_named(water):
    model = dataclasses.replace(water, card={"shortest_distances": {"H-O": 0.7}})
    (remark,) = model(near(1.0, "OO")).outside
    assert "no two atoms of these elements were neighbours" in remark.text
    assert remark.nearness == pytest.approx(1.0 / (COVALENT_FRACTION * 2 * 0.66))


def test_a_molecule_alone_is_no_liquid_and_neither_is_its_vapour(water):
    vapour = molecule("H2O")
    vapour.set_cell([15.0] * 3)
    vapour.pbc = True
    vapour = vapour.repeat(2)
    for atoms in (molecule("H2O"), vapour):
        assert [remark.key for remark in water(atoms).outside] == ["H", "O"]
    assert water(read(EXAMPLE)).outside == ()
    crowded = read(EXAMPLE)
    crowded.set_cell(crowded.cell * 0.75, scale_atoms=True)
    assert {"H", "O"} <= {remark.key for remark in water(crowded).outside}


def test_cards_of_training_frames_find_nothing_outside_in_them(water):
    data = real_data("water_revpbe0d3")
    frames = [
        atoms for name in ("train_30_water_1000_eVAng.xyz", "val_water_80.xyz") for atoms in read(data / name, ":")
    ]
    recipe = water.card["recipe"]["frames"]
    neighbours = NeighbourList(water.backbone.neighbours, skin=0.0)
    contacts = [Contacts.of(neighbours.graph(Structure.from_atoms(atoms))) for atoms in frames]
    card = describe(Contacts.merge([contacts[i] for i in recipe["train"]]), water.backbone.neighbours)
    assert {name: water.card[name] for name in card} == card
    known = Applicability(water.card)
    assert not any(known.outside(contacts[i]) for i in recipe["train"])
    assert not any(known.outside(contacts[i]) for i in (*recipe["validation"], *recipe["test"]))


def test_run_says_where_it_was_first_and_in_how_many(tmp_path, capsys):
    write(tmp_path / "w.extxyz", [read(EXAMPLE), *[molecule("H2O")] * 3])
    assert main(["run", str(tmp_path / "w.extxyz"), "-m", WATER, "--json"]) == 0
    printed = capsys.readouterr()
    assert [len(record["outside"]) for record in json.loads(printed.out)] == [0, 2, 2, 2]
    lines = printed.err.splitlines()
    assert len(lines) == 2
    assert all("w.extxyz, frame 1: An atom of" in line for line in lines)
    assert all(line.endswith("and likewise in 2 of the other frames.") for line in lines)


def falling():
    """Two argon atoms on their way into each other, faster than the potential can stop them in a step."""
    atoms = near(3.4, "Ar2")
    atoms.set_velocities([(0, 0, 0.05), (0, 0, -0.05)])
    return atoms


def test_dynamics_stops_far_below_the_shortest_distance_unless_told_otherwise(tmp_path):
    model = halocline.load("lennard-jones-argon")
    settings, model_card = Settings(ensemble="nve", timestep=2.0), {"shortest_distances": {"Ar-Ar": 5.0}}
    model = dataclasses.replace(model, card=model_card)
    with pytest.raises(DynamicsError, match=r"are 2\.\d+ Å apart.*where a run stops below 0\.6"):
        run_dynamics(falling(), model.calculator(), settings, RunFiles(tmp_path / "a"), steps=30)
    done = run_dynamics(
        falling(), model.calculator(), settings, RunFiles(tmp_path / "b"), steps=30, minimum_distance=0.0
    )
    assert done.finished


def test_a_start_that_is_too_near_touches_no_file(tmp_path):
    calculator = halocline.load("lennard-jones-argon").calculator()
    with pytest.raises(StructureError, match=r"Ar and Ar .atoms 0 and 1. are 1\.500 Å apart"):
        run_dynamics(near(1.5, "Ar2"), calculator, Settings(), RunFiles(tmp_path / "run"), steps=1)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), "0.6"])
def test_a_fraction_that_is_none_is_refused(tmp_path, fraction):
    calculator = halocline.load("lennard-jones-argon").calculator()
    with pytest.raises(UsageError, match="fraction between 0 and 1"):
        run_dynamics(
            near(3.8, "Ar2"),
            calculator,
            Settings(),
            RunFiles(tmp_path / "run"),
            steps=1,
            minimum_distance=fraction,
        )


@pytest.mark.parametrize(
    "field",
    [
        {"shortest_distances": {"H-O": 0.0}},
        {"shortest_distances": {"H-O": float("inf")}},
        {"shortest_distances": {"H-O": True}},
        {"shortest_distances": {"H": 1.0}},
        {"shortest_distances": [1.0]},
        {"neighbours": {"H": [3, 2]}},
        {"neighbours": {"H": [-1, 2]}},
        {"neighbours": {"H": [1.0, 2.0]}},
        {"neighbours": {"H": [1]}},
        {"neighbours": {"h": [1, 2]}},
    ],
)
def test_a_card_that_makes_no_sense_is_refused(field):
    with pytest.raises(CheckpointError, match="The card field"):
        check_card(field)


def test_a_card_of_an_element_that_does_not_exist_is_refused():
    assert "Xx" not in chemical_symbols
    with pytest.raises(CheckpointError, match="'Xx', which is no element"):
        Applicability({"shortest_distances": {"H-Xx": 1.0}})
