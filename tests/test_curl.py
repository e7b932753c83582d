"""The curl of forces: that of a field that is known, none of gradients, and what audits and cards say of it."""

import csv
import json
import math

import numpy as np
import pytest
from ase.build import bulk

from halocline.cli.main import main
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.curl import curl_for_card
from halocline.potential.potential import Potential
from halocline.probes.curl import Curl, measure_curl
from halocline.structures.write import extended_xyz

#: Relative, of an estimate from 1000 directions in 15 dimensions: two standard deviations.
SAMPLING = 0.03
#: Relative: rounding in float64 over the step, and truncation, of second order in it.
DIFFERENCES = 1e-5


def rotating(stiffness, turn):
    """F = -k x + ω × x of each atom by itself: J - Jᵀ holds 2ω, J + Jᵀ is -2k."""

    def forces(positions):
        return [-stiffness * each + np.cross(turn, each) for each in positions]

    return forces


def test_a_field_that_turns_has_the_curl_that_it_was_given():
    stiffness, turn = 3.0, np.array([0.3, -0.4, 1.2])
    curl = measure_curl(rotating(stiffness, turn), np.random.default_rng(1).normal(size=(5, 3)), probes=1000)
    # ω× as a matrix has the square 2ω², and J - Jᵀ is twice that matrix: 8ω² in 3 coordinates of each atom.
    size = math.sqrt(8.0 / 3.0) * np.linalg.norm(turn)
    assert curl.magnitude == pytest.approx(size, rel=SAMPLING)
    assert curl.asymmetry == pytest.approx(size / (2.0 * stiffness), rel=SAMPLING)


def test_the_work_of_a_turn_is_what_the_curl_says():
    """Exactly here, as the field is linear: of atoms that go round circles in phase."""
    forces, radius, rng = rotating(2.0, np.array([0.0, 0.5, 0.2])), 0.1, np.random.default_rng(2)
    start, angles = rng.normal(size=(4, 3)), np.linspace(0.0, 2.0 * math.pi, 8, endpoint=False)
    works = []
    for _ in range(1000):
        u, v = rng.normal(size=(2, 4, 3))
        path = [start + radius * (u * math.cos(t) + v * math.sin(t)) for t in angles]
        speeds = [radius * (v * math.cos(t) - u * math.sin(t)) for t in angles]
        powers = [float((f * speed).sum()) for f, speed in zip(forces(path), speeds, strict=True)]
        works.append(2.0 * math.pi * np.mean(powers))
    curl = measure_curl(forces, start, probes=1000)
    expected = math.pi * radius**2 * math.sqrt(start.size) * curl.magnitude
    assert np.sqrt(np.mean(np.square(works))) == pytest.approx(expected, rel=3.0 * SAMPLING)


def test_means_are_of_squares_and_constant_forces_have_no_ratio():
    assert Curl.mean([Curl(1.0, 4.0), Curl(3.0, 4.0)]).asymmetry == pytest.approx(math.sqrt(0.5))
    constant = measure_curl(lambda positions: [np.ones_like(each) for each in positions], np.zeros((2, 3)))
    assert constant.magnitude == 0.0
    assert constant.asymmetry is None


def model(name, **changes):
    config = registry().load("backbone", name).example_config() | {"species": ["Ar", "Ne"]} | changes
    backbone = build_backbone(name, config, seed=0)
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})


def crystal(seed):
    atoms = bulk("ArNe", "zincblende", 4.6, cubic=True)  # fewer nearest neighbours than models of ranks take
    atoms.rattle(0.05, seed=seed)
    return atoms


@pytest.mark.parametrize("name", ["schnet", "escaip"])
def test_gradients_have_no_curl_and_direct_forces_have_one(name):
    asymmetry = curl_for_card(model(name), [crystal(0)], "cpu", "a crystal")["asymmetry"]
    assert asymmetry < DIFFERENCES
    if name == "escaip":
        direct = curl_for_card(model(name, forces="direct"), [crystal(0)], "cpu", "a crystal")
        assert direct["asymmetry"] > 100.0 * DIFFERENCES
        assert direct["measured_on"] == "a crystal"


@pytest.mark.slow
def test_audits_measure_direct_forces(tmp_path, capsys):
    (tmp_path / "data.extxyz").write_bytes(extended_xyz([crystal(seed) for seed in range(6)], exact=True))
    model("orb", forces="direct").save(tmp_path / "direct.safetensors")
    words = [str(tmp_path / "direct.safetensors"), str(tmp_path / "data.extxyz"), "-o", str(tmp_path / "out")]
    assert main(["audit", *words, "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["curl"]
    rows = list(csv.DictReader((tmp_path / "out/curl.csv").read_text().splitlines()))
    assert len(rows) == found["frames"] == 4
    squares = [float(row["curl_eV_per_A2"]) ** 2 for row in rows]
    assert found["curl_eV_per_A2"] == pytest.approx(math.sqrt(np.mean(squares)))
    assert "‖J − Jᵀ‖/‖J + Jᵀ‖" in (tmp_path / "out/report.html").read_text()
