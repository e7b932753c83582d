"""Committees and sums from the command line are those of Python, in every form of output."""

import csv
import json
from dataclasses import asdict

import ase.db
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from test_combined import pair

import halocline
from halocline import committee_of, sum_of
from halocline.cli.main import main
from halocline.dynamics.records import read_log
from halocline.evaluation.committee import Calibration
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two networks, a pair potential and two structures."""
    monkeypatch.chdir(tmp_path)
    config = {"species": ["O", "H"], "features": 8, "gaussians": 8, "layers": 1, "cutoff": 3.0}
    for seed in range(2):
        backbone = build_backbone("schnet", config, seed=seed)
        Potential(backbone.eval(), {"O": 0.5 * seed, "H": 0.0}, {"name": f"m{seed}"}).save(f"m{seed}.safetensors")
    pair().save("pair.safetensors")
    crystal = molecule("H2O", cell=[4.0, 5.0, 6.0], pbc=True)
    write("in.extxyz", [molecule("H2O"), crystal])
    return tmp_path


COMMITTEE = ["-m", "m0.safetensors", "-m", "m1.safetensors"]
OF_SUM = [*COMMITTEE, "--add", "pair.safetensors", "--dtype", "float64"]


def in_python():
    members = [halocline.load(f"m{seed}.safetensors") for seed in range(2)]
    return sum_of(committee_of(*members), halocline.load("pair.safetensors"))


def test_run_tells_mean_and_spread_in_every_form(folder, capsys):
    expected = in_python()(read("in.extxyz", ":"), dtype="float64")
    for ending in ("extxyz", "csv", "jsonl", "db"):
        assert main(["run", "in.extxyz", *OF_SUM, "-o", f"out.{ending}", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
    with (folder / "out.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    objects = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    rows, frames = list(ase.db.connect("out.db").select()), read("out.extxyz", ":")
    for result, one, line, entry, row, frame in zip(expected, told, lines, objects, rows, frames, strict=True):
        spread = result.spread
        assert spread.energy > 1e-3
        assert {frame.get_potential_energy(), one["energy"], float(line["energy_eV"]), row.energy} == {
            result.energy
        }
        deviations = one["energy_std"], float(line["energy_std_eV"]), entry["energy_std"], row.energy_std_eV
        assert {*deviations, frame.info["energy_std"]} == {spread.energy}
        largest = one["max_force_std"], float(line["max_force_std_eV_per_A"]), row.max_force_std_eV_per_A
        assert {*largest, entry["max_force_std"]} == {spread.forces.max()}
        for found in (one["forces_std"], row.data["forces_std"], frame.arrays["forces_std"]):
            np.testing.assert_array_equal(found, spread.forces)
        np.testing.assert_array_equal(frame.arrays["energies_std"], spread.energies)
    assert main(["run", "in.extxyz", *OF_SUM]) == 0
    assert "± E (eV)" in capsys.readouterr().out


def test_another_committee_is_not_gone_on_with(folder, capsys):
    assert main(["run", "in.extxyz", *COMMITTEE, "-o", "out.csv"]) == 0
    assert main(["run", "in.extxyz", "-m", "m0.safetensors", "-o", "out.csv", "--resume"]) == 1
    assert "model was" in capsys.readouterr().err
    assert main(["run", "in.extxyz", *COMMITTEE, "-o", "out.csv", "--resume"]) == 0


def test_dynamics_log_the_spread_and_go_on(folder, capsys):
    words = ["md", "in.extxyz", *OF_SUM, "--ensemble", "nve", "--timestep", "0.1", "--log-interval", "1"]
    words += ["--interval", "1", "-o", "md"]
    assert main([*words, "--steps", "2"]) == 0
    assert main([*words, "--steps", "4", "--resume", "--json"]) == 0
    log, frames = read_log(folder / "md.csv"), read("md.extxyz", ":")
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["max_force_std_eV_per_A"] == log["max_force_std_eV_per_A"].max()
    assert len(log["energy_std_eV"]) == len(frames) == 5
    for frame, energy, force in zip(frames, log["energy_std_eV"], log["max_force_std_eV_per_A"], strict=True):
        spread = in_python()(frame, dtype="float64").spread
        assert energy == pytest.approx(spread.energy, rel=1e-5)  # frames have eight decimals
        assert force == pytest.approx(spread.forces.max(), rel=1e-4)
        np.testing.assert_allclose(frame.arrays["forces_std"], spread.forces, atol=1e-5)


def test_relaxations_and_errors_are_those_of_the_mean(folder, capsys):
    assert main(["relax", "in.extxyz", *OF_SUM, "--max-steps", "2"]) in (0, 1)
    relaxed = read("relaxed.extxyz")
    assert relaxed.get_potential_energy() == pytest.approx(in_python()(relaxed, dtype="float64").energy, abs=1e-5)
    assert relaxed.info["energy_std"] > 0.0
    assert main(["run", "in.extxyz", *OF_SUM, "-o", "labels.extxyz"]) == 0
    capsys.readouterr()
    assert main(["eval", "labels.extxyz", *OF_SUM, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "committee of m0.safetensors, m1.safetensors + pair.safetensors"
    assert told["errors"]["energy"]["max"] < 1e-6


def test_members_have_the_errors_that_they_have_alone(folder, capsys):
    """In a sum, too; and spreads beside errors are what results say of both."""
    rng = np.random.default_rng(1)
    frames = [each.copy() for _ in range(6) for each in read("in.extxyz", ":")]
    for frame in frames:
        frame.rattle(0.05, rng=rng)
        given = {"energy": rng.normal(-3.0, 0.5), "forces": rng.normal(0.0, 0.5, (3, 3))}
        frame.calc = SinglePointCalculator(frame, **given, stress=rng.normal(0.0, 0.01, 6))
    write("labels.extxyz", frames)

    def told(*words):
        assert main(["eval", "labels.extxyz", "--dtype", "float64", "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)

    whole = told(*OF_SUM)
    for name in ("m0.safetensors", "m1.safetensors"):
        alone = told("-m", name, "--add", "pair.safetensors")
        assert "members" not in alone
        for quantity, errors in alone["errors"].items():
            found = whole["members"][name][quantity]
            for what in ("count", "mae", "rmse", "max"):
                assert found[what] == pytest.approx(errors[what], rel=1e-6), (name, quantity, what)
    results = in_python()(frames, dtype="float64")
    spreads = np.concatenate([result.spread.forces for result in results]) * 1000.0
    labels = np.concatenate([frame.get_forces() for frame in frames])
    errors = np.linalg.norm(np.concatenate([each.forces for each in results]) - labels, axis=1) * 1000.0
    found = whole["spread"]["force vectors"]
    assert found["count"] == len(errors) == 36
    assert found["rmse"] == pytest.approx(whole["errors"]["force vectors"]["rmse"])
    assert found["scale"] == pytest.approx(np.sqrt((errors**2).mean() / (spreads**2).mean()))
    assert found["correlation"] == pytest.approx(np.corrcoef(spreads, errors)[0, 1])
    assert whole["spread"]["stress"]["count"] == 6 * 6
    stresses = [
        [m0.stress, m1.stress] for m0, m1 in zip(*members_of_sum(frames), strict=True) if m0.stress is not None
    ]
    expected = 1000.0 * np.std(stresses, axis=1)[:, *np.triu_indices(3)]
    assert whole["spread"]["stress"]["spread"] == pytest.approx(np.sqrt((expected**2).mean()), rel=1e-6)
    assert main(["eval", "labels.extxyz", *OF_SUM]) == 0
    shown = capsys.readouterr().out
    assert "Errors of the members" in shown
    assert "RMSE/spread" in shown


def members_of_sum(frames):
    correction = halocline.load("pair.safetensors")
    for seed in range(2):
        yield sum_of(halocline.load(f"m{seed}.safetensors"), correction)(frames, dtype="float64")


def test_spreads_that_tell_errors_are_seen_to():
    rng, calibration = np.random.default_rng(2), Calibration()
    spreads = rng.lognormal(size=4000)
    for part in np.split(spreads, 8):
        calibration.add(part, np.abs(rng.normal(0.0, 2.0 * part)))
    found = calibration.table()
    assert found.scale == pytest.approx(2.0, rel=0.1)
    assert found.rank_correlation > 0.5
    ratios = [error / spread for spread, error in found.bins]
    assert len(ratios) == 10
    np.testing.assert_allclose(ratios, 2.0, rtol=0.2)
    assert [spread for spread, _ in found.bins] == sorted(spread for spread, _ in found.bins)


def test_nothing_is_told_of_no_spreads():
    assert asdict(Calibration().table()) == {
        "count": 0,
        "bins": [],
        **dict.fromkeys(("spread", "rmse", "scale", "correlation", "rank_correlation")),
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "in.extxyz", "-m", "m0.safetensors", "-m", "m0.safetensors"], "is named twice"),
        (["run", "in.extxyz", *COMMITTEE, "--backend", "ddp:ranks=2"], "one model at a time"),
        (["bench", *COMMITTEE], "-m names one model"),
        (["bench", "-m", "m0.safetensors", "--add", "pair.safetensors"], "--add"),
    ],
)
def test_what_makes_no_committee_is_a_wrong_call(folder, capsys, words, sentence):
    try:
        status = main(words)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert sentence in capsys.readouterr().err
