"""``halocline md`` on a zoo model: options, results, signals and exact restart through the program itself."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write

from halocline.cli.main import main
from halocline.dynamics import RunFiles
from halocline.dynamics.records import read_log

MODEL = ["-m", "lennard-jones-argon", "--temperature", "60", "--timestep", "4"]
ENSEMBLES = {
    "nve": ["--ensemble", "nve"],
    "langevin": ["--ensemble", "nvt"],
    "bussi": ["--ensemble", "nvt", "--thermostat", "bussi"],
    "npt": ["--ensemble", "npt", "--pressure", "0.1"],
}


@pytest.fixture
def folder(argon, tmp_path, monkeypatch):
    """A folder with a crystal in it, to work in."""
    monkeypatch.chdir(tmp_path)
    write("ar.extxyz", argon.crystal())
    return tmp_path


def md(*words):
    return main(["md", "ar.extxyz", *MODEL, *words])


def test_results_are_those_of_the_log(folder, capsys):
    assert md("--steps", "12", "-o", "runs/ar", "--json", "--plot", "--interval", "4") == 0
    result = json.loads(capsys.readouterr().out)
    log = read_log(folder / "runs" / "ar.csv")
    assert result["steps"] == 12
    assert result["temperature_K"] == log["temperature_K"].mean()
    assert result["pressure_GPa"] == log["pressure_GPa"].mean()
    assert result["potential_eV"] == log["potential_eV"][-1]
    assert result["us_per_atom_step"] == pytest.approx(1e6 / result["steps_per_s"] / 32)
    assert [frame.info["step"] for frame in read(result["trajectory"], ":")] == [0, 4, 8, 12]
    assert Path(result["plot"]).read_bytes().startswith(b"\x89PNG")


def test_table_names_units(folder, capsys):
    assert md("--time", "0.02") == 0
    printed = capsys.readouterr()
    for words in (
        "potential energy (eV)",
        "temperature (K)",
        "pressure (GPa)",
        "ns/day",
        "µs/atom/step",
        "5 (0.02 ps)",
    ):
        assert words in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("name", ENSEMBLES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resumed_equals_straight(folder, name, dtype, capsys):
    options = [*ENSEMBLES[name], "--dtype", dtype, "--checkpoint-interval", "4"]
    assert md("--steps", "14", "-o", "straight", *options) == 0
    assert md("--steps", "6", "-o", "resumed", *options) == 0
    assert md("--steps", "14", "-o", "resumed", "--resume", *options) == 0
    for kind in ("trajectory", "log"):
        straight, resumed = (getattr(RunFiles(folder / run), kind).read_bytes() for run in ("straight", "resumed"))
        assert straight == resumed
    del capsys


def _whole_lines(path):
    """Lines of a file that another process is writing; the last may be half there."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_the_run_with_a_checkpoint(folder, number, status):
    command = [sys.executable, "-c", "import sys; from halocline.cli.main import main; sys.exit(main())", "md"]
    command += ["ar.extxyz", *MODEL, "--steps", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and _whole_lines(folder / "md.csv") < 5:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "--resume goes on" in err
    assert "Traceback" not in err
    done = int(read_log(folder / "md.csv")["step"][-1]) + 1
    assert f"interrupted at step {done}" in err
    assert "steps" in out
    assert md("--steps", str(done + 2), "--resume") == 0
    assert md("--steps", str(done + 2), "-o", "straight") == 0
    assert (folder / "md.csv").read_bytes() == (folder / "straight.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--steps", "-1"], 2, "must not be negative"),
        (["--steps", "1", "--timestep", "0"], 2, "timestep must be"),
        (
            ["--steps", "1", "--ensemble", "nve", "--thermostat", "bussi"],
            2,
            "--thermostat means nothing in the nve",
        ),
        (["--steps", "1", "--pressure", "1"], 2, "--pressure means nothing in the nvt"),
        (["--steps", "1", "--resume"], 1, "no checkpoint"),
        ([], 2, "--steps --time is required"),
    ],
)
def test_wrong_calls_are_one_sentence(folder, capsys, words, status, message):
    assert md(*words) == status
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert [path.name for path in folder.iterdir() if path.suffix in (".csv", ".npz")] == []


def test_explosion_is_status_one_and_keeps_frames(folder, argon, capsys):
    atoms = argon.crystal()
    atoms.positions[1] = atoms.positions[0] + (1.0, 0.0, 0.0)
    write("overlap.extxyz", atoms)
    assert (
        main(["md", "overlap.extxyz", *MODEL, "--steps", "50", "--interval", "1", "--minimum-distance", "0"]) == 1
    )
    assert "halocline: The run stopped near step" in capsys.readouterr().err
    assert all(np.isfinite(frame.positions).all() for frame in read("md.extxyz", ":"))


def test_other_options_at_resume_are_refused(folder, capsys):
    assert md("--steps", "3") == 0
    assert md("--steps", "5", "--resume", "--dtype", "float64") == 1
    assert "dtype was float32, now float64" in capsys.readouterr().err
    assert md("--steps", "5") == 2


@pytest.mark.parametrize("variables", [{"RANK": "1"}, {"WORLD_SIZE": "many"}, {"RANK": "7", "WORLD_SIZE": "4"}])
def test_one_process_does_not_look_for_others(folder, monkeypatch, variables):
    """A notebook server or a batch system may have left what torchrun would say."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert md("--steps", "2") == 0


def test_one_process_does_not_go_on_because_others_were_started_anew(folder, monkeypatch, capsys):
    assert md("--steps", "2") == 0
    started = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in (started | {"TORCHELASTIC_RESTART_COUNT": "1"}).items():
        monkeypatch.setenv(name, value)
    assert md("--steps", "4") == 2
    assert "--resume" in capsys.readouterr().err
