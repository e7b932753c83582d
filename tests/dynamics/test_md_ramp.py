"""Ramps of temperature: the bath follows them, restarts continue them, and what means nothing is refused."""

import numpy as np
import pytest

from halocline.cli.main import main
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.dynamics.records import read_log
from halocline.errors import DynamicsError, UsageError

RAMP = {"temperature": 20.0, "final_temperature": 60.0, "ramp_steps": 40}
ENSEMBLES = ("langevin", "bussi", "npt")


@pytest.fixture
def run(argon, tmp_path):
    """Run solid argon to a step, and give the bytes of its trajectory and log."""

    def to(name, prefix, steps, *, resume=False, **changes):
        output = RunFiles(tmp_path / prefix)
        settings = argon.settings(name, **{**RAMP, **changes})
        run_dynamics(argon.crystal(), argon.Argon(), settings, output, steps=steps, resume=resume)
        return output

    return to


def test_the_bath_goes_from_one_temperature_to_the_other_and_stays():
    settings = Settings(**RAMP)
    assert [settings.bath_temperature(step) for step in (0, 10, 40, 100)] == [20.0, 30.0, 60.0, 60.0]
    assert settings.highest_temperature == 60.0
    assert Settings(temperature=7.0).bath_temperature(5) == 7.0


@pytest.mark.parametrize("name", ENSEMBLES)
def test_a_ramp_to_the_same_temperature_is_no_ramp(run, name):
    """Setting the temperature anew at every step changes nothing to the bit."""
    constant = run(name, "constant", 8, temperature=60.0, final_temperature=None, ramp_steps=None)
    ramped = run(name, "ramped", 8, temperature=60.0, final_temperature=60.0)
    assert ramped.trajectory.read_bytes() == constant.trajectory.read_bytes()


@pytest.mark.parametrize("name", ENSEMBLES)
def test_restarts_continue_ramps_exactly(run, name):
    straight = run(name, "straight", 20)
    run(name, "parts", 9)
    parts = run(name, "parts", 20, resume=True)
    assert parts.trajectory.read_bytes() == straight.trajectory.read_bytes()
    assert parts.log.read_bytes() == straight.log.read_bytes()


@pytest.mark.parametrize("name", ["langevin", "bussi"])
def test_the_structure_follows_the_bath(run, name):
    """Strong coupling: over the last part of a long ramp, temperatures are near those of the bath."""
    log = read_log(run(name, "follows", 300, ramp_steps=200, relaxation_time=20.0).log)
    assert np.mean(log["temperature_K"][200:]) == pytest.approx(60.0, rel=0.25)  # std of one: 14 %, correlated
    assert np.mean(log["temperature_K"][20:60]) == pytest.approx(28.0, rel=0.35)


def test_what_means_nothing_is_refused(run):
    with pytest.raises(UsageError, match="no bath"):
        Settings(ensemble="nve", **RAMP)
    with pytest.raises(UsageError, match="both"):
        Settings(final_temperature=10.0)
    with pytest.raises(UsageError, match="final temperature must be finite"):
        Settings(**{**RAMP, "final_temperature": float("nan")})
    with pytest.raises(UsageError, match="ramp steps"):
        Settings(**{**RAMP, "ramp_steps": 0})
    run("langevin", "other", 2)
    with pytest.raises(DynamicsError, match="ramp steps was 40, now 50"):
        run("langevin", "other", 4, resume=True, ramp_steps=50)


def test_the_command_takes_both_ends(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    from ase.build import bulk
    from ase.io import write

    write("argon.extxyz", bulk("Ar", "fcc", 5.3, cubic=True))
    options = ["md", "argon.extxyz", "-m", "lennard-jones-argon", "--timestep", "5"]
    assert main([*options, "--temperature", "20:60", "--steps", "4", "--plot", "-o", "ramp"]) == 0
    assert (tmp_path / "ramp.png").exists()
    assert main([*options, "--temperature", "20:60", "--steps", "8", "-o", "ramp", "--resume"]) == 1
    assert "ramp steps was 4, now 8" in capsys.readouterr().err
    longer = ["--steps", "8", "--ramp-time", "0.02", "-o", "ramp", "--resume"]
    assert main([*options, "--temperature", "20:60", *longer]) == 0
    capsys.readouterr()
    for wrong, said in (
        (["--temperature", "20", "--ramp-time", "1"], "--ramp-time needs"),
        (["--temperature", "20:60", "--ramp-time", "nan"], "--ramp-time must be finite"),
        (["--temperature", "20:60", "--timestep", "0"], "timestep must be finite"),
        (["--temperature", "20:"], "invalid temperature value: '20:'"),
        (["--temperature", "20:60", "--ensemble", "nve"], "no bath"),
    ):
        assert main([*options, "--steps", "2", "-o", "wrong", *wrong]) == 2
        assert said in capsys.readouterr().err
