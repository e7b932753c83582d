"""Frames about which a committee disagrees are collected once, whatever ends the run; or they end it."""

import json
import random
import shutil

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

import halocline
from halocline.cli.main import main
from halocline.dynamics import RunFiles, Settings, Watch, run_dynamics
from halocline.dynamics.records import read_log
from halocline.dynamics.snapshot import load_snapshot
from halocline.errors import DynamicsError, UsageError
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

STEPS, INTERVAL = 60, 5
SETTINGS = Settings(temperature=80.0, timestep=5.0, frame_interval=7, seed=3)


def member(epsilon):
    config = {"species": ["Ar"], "epsilon": [epsilon], "sigma": [3.4], "cutoff": 6.0}
    return Potential(build_backbone("lennard-jones", config), {"Ar": 0.0}, {"name": f"argon {epsilon}"})


@pytest.fixture(scope="module")
def committee():
    return halocline.committee_of(member(0.0104), member(0.0090), member(0.0115))


def crystal():
    return bulk("Ar", "fcc", 5.3, cubic=True)


def run(committee, prefix, watch=None, steps=STEPS, **options):
    watch = watch or Watch(collect_at=threshold(committee, prefix.parent), collect_interval=INTERVAL)
    files = RunFiles(prefix, prefix.with_name("wanted.extxyz") if watch.collect_at else None)
    calculator = committee.calculator(dtype="float64", device="cpu")
    options = {"checkpoint_interval": 7, "minimum_distance": 0.0, **options}
    return run_dynamics(crystal(), calculator, SETTINGS, files, steps=steps, watch=watch, **options), files


def spreads(committee, folder):
    """The largest spread of a force at each step, and its log, of a run that looks for nothing."""
    prefix = folder / "unwatched" / "run"
    if not prefix.with_suffix(".csv").exists():
        run(committee, prefix, Watch())
    return read_log(prefix.with_suffix(".csv"))["max_force_std_eV_per_A"]


def threshold(committee, folder):
    """Reached by a third of the steps."""
    return float(np.quantile(spreads(committee, folder), 2 / 3))


def expected_steps(largest, at, interval):
    kept = []
    for step in np.flatnonzero(largest >= at).tolist():
        if not kept or step - kept[-1] >= interval:
            kept.append(step)
    return kept


def test_frames_are_those_of_the_threshold_and_apart(committee, tmp_path):
    outcome, files = run(committee, tmp_path / "run")
    frames = read(files.collected, ":")
    steps = expected_steps(spreads(committee, tmp_path), threshold(committee, tmp_path), INTERVAL)
    assert [frame.info["step"] for frame in frames] == steps
    assert 2 < len(steps) == outcome.collected < STEPS / INTERVAL
    assert outcome.stopped is None
    for frame in frames:
        assert frame.calc is None  # what a model says must not be taken for a label
        spread = committee(frame, dtype="float64").spread
        np.testing.assert_allclose(frame.arrays["forces_std"], spread.forces, atol=1e-6)
    assert files.trajectory.read_bytes() == (tmp_path / "unwatched" / "run.extxyz").read_bytes()


@pytest.mark.parametrize("seed", range(3))
def test_interrupted_and_killed_equals_straight(committee, tmp_path, seed):
    generator = random.Random(seed)
    straight = tmp_path / "straight" / "run"
    watch = Watch(collect_at=threshold(committee, tmp_path), collect_interval=INTERVAL)
    moment, killed = generator.randrange(STEPS), tmp_path / "killed"

    def copy(sample):
        if sample.step == moment:
            shutil.copytree(straight.parent, killed)
            with (killed / "wanted.extxyz").open("ab") as file:
                file.write(b"4\nLattice=")  # a kill in the middle of a write

    whole, files = run(committee, straight, watch, on_step=copy)

    def impatient():
        return generator.random() < 0.2

    outcome, others = run(committee, killed / "run", watch, resume=True, interrupted=impatient)
    while not outcome.finished:
        outcome, others = run(committee, killed / "run", watch, resume=True, interrupted=impatient)
    assert outcome.collected == whole.collected
    for name in files.appended:
        assert files.appended[name].read_bytes() == others.appended[name].read_bytes(), name
    assert load_snapshot(files.checkpoint).collected == load_snapshot(others.checkpoint).collected


def test_a_run_stops_where_it_is_told_to_and_goes_on_exactly(committee, tmp_path):
    largest = spreads(committee, tmp_path)
    at = float(np.quantile(largest, 0.9))
    first = int(np.flatnonzero(largest >= at)[0])
    outcome, files = run(committee, tmp_path / "run", Watch(stop_at=at))
    assert (outcome.step, outcome.finished) == (first, True)
    assert f"at step {first}" in outcome.stopped
    assert len(read_log(files.log)["step"]) == first + 1
    again, _ = run(committee, tmp_path / "run", Watch(stop_at=at), resume=True)
    assert (again.step, again.computed, again.stopped) == (first, 0, outcome.stopped)
    run(committee, tmp_path / "run", Watch(stop_at=2.0 * largest.max()), resume=True)
    assert files.log.read_bytes() == (tmp_path / "unwatched" / "run.csv").read_bytes()
    assert files.trajectory.read_bytes() == (tmp_path / "unwatched" / "run.extxyz").read_bytes()


def test_another_collection_is_not_gone_on_with(committee, tmp_path):
    watch = Watch(collect_at=1e-3, collect_interval=INTERVAL)
    run(committee, tmp_path / "run", watch, steps=3)
    for other in (Watch(), Watch(collect_at=2e-3, collect_interval=INTERVAL), Watch(collect_at=1e-3)):
        with pytest.raises(DynamicsError, match="collect"):
            run(committee, tmp_path / "run", other, steps=6, resume=True)
    with pytest.raises(UsageError, match="exists"):
        run(committee, tmp_path / "other", watch, steps=3)  # into the same file


@pytest.mark.parametrize("values", [{"collect_at": 0.0}, {"stop_at": float("nan")}, {"collect_interval": 0}])
def test_thresholds_that_mean_nothing_are_refused(values):
    with pytest.raises(UsageError):
        Watch(**values)


def test_one_model_disagrees_with_nobody(tmp_path):
    with pytest.raises(UsageError, match="committee"):
        run(member(0.0104), tmp_path / "run", Watch(stop_at=0.1))
    assert not list(tmp_path.glob("run*"))


def test_the_command_collects_stops_and_tells(committee, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    crystal().write("start.extxyz")
    for name, epsilon in (("a", 0.0104), ("b", 0.0090)):
        member(epsilon).save(f"{name}.safetensors")
    words = ["md", "start.extxyz", "-m", "a.safetensors", "-m", "b.safetensors", "--device", "cpu"]
    words += ["--temperature", "80", "--timestep", "5", "--minimum-distance", "0"]
    chosen = ["--collect", "wanted.extxyz", "--at-spread", "1e-4", "--collect-interval", "4"]
    assert main([*words, *chosen, "--steps", "10", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    frames = read("wanted.extxyz", ":")
    assert told["collected_frames"] == len(frames) >= 2
    assert told["collected"] == "wanted.extxyz"
    assert main([*words, *chosen, "--steps", "20", "--resume"]) == 0
    assert "frames collected" in capsys.readouterr().out
    assert len(read("wanted.extxyz", ":")) > len(frames)
    assert main([*words, "--stop-at-spread", "1e-4", "--steps", "20", "-o", "stopping"]) == 0
    assert "ended as told" in capsys.readouterr().err
    for wrong in (["--collect", "x.extxyz"], ["--at-spread", "0.1"], ["--collect-interval", "5"]):
        assert main([*words, *wrong, "--steps", "1", "-o", "wrong"]) == 2
    assert main([*words, "--collect", "x.cif", "--at-spread", "0.1", "--steps", "1", "-o", "wrong"]) == 2
    assert "--collect x.cif" in capsys.readouterr().err
