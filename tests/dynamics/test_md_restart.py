"""A run that was killed at any moment and resumed is, bit by bit, the run that was not."""

import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from halocline.dynamics import RunFiles
from halocline.dynamics.snapshot import Snapshot, load_snapshot
from halocline.errors import DynamicsError
from halocline.files import previous_path

STEPS = 30
ENSEMBLES = ("nve", "langevin", "bussi", "npt")
PROGRAM = Path(__file__).with_name("argon.py")


def assert_same_run(one, other):
    """Compare trajectory, log and last checkpoint byte for byte."""
    assert one.trajectory.read_bytes() == other.trajectory.read_bytes()
    assert one.log.read_bytes() == other.log.read_bytes()
    left, right = load_snapshot(one.checkpoint), load_snapshot(other.checkpoint)
    for field in fields(Snapshot):
        np.testing.assert_equal(getattr(left, field.name), getattr(right, field.name))


def copies_at(moments, prefix, folder):
    """Make an `on_step` that copies the run's files at some steps: what a kill there leaves on the disk."""

    def copy(sample):
        if sample.step in moments:
            target = folder / str(sample.step)
            target.mkdir()
            for path in prefix.parent.glob(prefix.name + "*"):
                shutil.copy(path, target)

    return copy


@pytest.mark.parametrize("name", ENSEMBLES)
def test_killed_and_resumed_equals_straight(argon, tmp_path, name):
    moments = [*random.Random(f"kill {name}").sample(range(STEPS + 1), 3), 0, STEPS]
    straight = tmp_path / "straight" / "run"
    argon.run(straight, name, STEPS, on_step=copies_at(moments, straight, tmp_path))
    for moment in set(moments):
        killed = RunFiles(tmp_path / str(moment) / "run")
        with killed.trajectory.open("ab") as trajectory, killed.log.open("ab") as log:
            trajectory.write(b"32\nLattice=")  # a kill in the middle of a write
            log.write(b"31,15")
        outcome = argon.run(killed.prefix, name, STEPS, resume=True)
        assert outcome.finished
        assert outcome.step == STEPS
        assert_same_run(RunFiles(straight), killed)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_interrupted_again_and_again_equals_straight(argon, tmp_path, name):
    argon.run(tmp_path / "straight", name, STEPS)
    generator = random.Random(f"interrupt {name}")
    outcome = argon.run(tmp_path / "halting", name, STEPS, interrupted=lambda: generator.random() < 0.2)
    while not outcome.finished:
        outcome = argon.run(
            tmp_path / "halting", name, STEPS, resume=True, interrupted=lambda: generator.random() < 0.2
        )
    assert_same_run(RunFiles(tmp_path / "straight"), RunFiles(tmp_path / "halting"))


def kill_after(lines, prefix, arguments):
    """Start the program and SIGKILL it as soon as its log has so many lines."""
    log = RunFiles(prefix).log
    with subprocess.Popen([sys.executable, str(PROGRAM), str(prefix), *arguments]) as process:
        while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < lines):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("name", ENSEMBLES)
def test_sigkilled_process_resumes_exactly(argon, tmp_path, name):
    argon.run(tmp_path / "straight", name, STEPS)
    lines = random.Random(f"sigkill {name}").randint(2, STEPS - 5)
    assert kill_after(lines, tmp_path / "killed", [name, str(STEPS)]) == -signal.SIGKILL
    assert kill_after(lines + 3, tmp_path / "killed", [name, str(STEPS), "--resume"]) == -signal.SIGKILL
    argon.run(tmp_path / "killed", name, STEPS, resume=True)
    assert_same_run(RunFiles(tmp_path / "straight"), RunFiles(tmp_path / "killed"))


def test_no_frame_is_missing_or_twice(argon, tmp_path):
    argon.run(tmp_path / "run", "langevin", 11)
    argon.run(tmp_path / "run", "langevin", STEPS, resume=True)
    frames = read(tmp_path / "run.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == list(range(0, STEPS + 1, 3))
    assert all(frame.get_momenta().any() for frame in frames)
    steps = np.loadtxt(tmp_path / "run.csv", delimiter=",", skiprows=1)[:, 0]
    np.testing.assert_array_equal(steps, np.arange(STEPS + 1))


def test_extending_a_finished_run_equals_one_long_run(argon, tmp_path):
    argon.run(tmp_path / "long", "npt", STEPS)
    argon.run(tmp_path / "extended", "npt", 13)
    argon.run(tmp_path / "extended", "npt", STEPS, resume=True)
    assert_same_run(RunFiles(tmp_path / "long"), RunFiles(tmp_path / "extended"))


def test_resuming_a_finished_run_changes_nothing(argon, tmp_path):
    argon.run(tmp_path / "run", "bussi", 10)
    before = (tmp_path / "run.csv").read_bytes()
    assert argon.run(tmp_path / "run", "bussi", 10, resume=True).computed == 0
    assert (tmp_path / "run.csv").read_bytes() == before


def test_previous_checkpoint_takes_over(argon, tmp_path):
    argon.run(tmp_path / "straight", "langevin", STEPS)
    argon.run(tmp_path / "run", "langevin", 23)
    output = RunFiles(tmp_path / "run")
    assert load_snapshot(previous_path(output.checkpoint)).step == 21
    output.checkpoint.unlink()
    argon.run(tmp_path / "run", "langevin", STEPS, resume=True)
    assert_same_run(RunFiles(tmp_path / "straight"), output)


def test_fewer_steps_than_done_is_refused(argon, tmp_path):
    argon.run(tmp_path / "run", "nve", 10)
    with pytest.raises(DynamicsError, match="at step 10 already"):
        argon.run(tmp_path / "run", "nve", 5, resume=True)


def test_start_is_not_changed(argon, tmp_path):
    atoms = argon.crystal()
    from halocline.dynamics import run_dynamics

    run_dynamics(atoms, argon.Argon(), argon.settings("nve"), RunFiles(tmp_path / "run"), steps=2)
    assert atoms == argon.crystal()
    assert not atoms.constraints
